"""The protocol's operations: records to arrays, one call of a function in the database, rows to answers."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import Micros
from docket_core.backend.kit import groups, is_refused, refusal_of_ack
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Ended,
    Mark,
    Permit,
    PermitRequest,
    PermitStatus,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
)
from docket_core.backend.records import FunctionCounts, Page, Record, WorkerRecord
from docket_core.backend.states import State
from docket_postgres.rows import (
    STATES,
    VERDICTS,
    Row,
    ack_columns,
    clamped,
    column,
    count,
    length,
    name,
    portions,
    records,
    storable,
    text,
    waves,
)
from docket_postgres.store import Store

_ACKED = (Acked.ACKED, Acked.GONE, Acked.SUPERSEDED, Acked.LOST)
_CANCELLED = (CancelReply.CANCELLED, CancelReply.REQUESTED, CancelReply.GONE)
_RENEWED = (Renewal.RENEWED, Renewal.LOST, Renewal.CANCEL)
_PROGRESS = (ProgressReply.RECORDED, ProgressReply.SUPERSEDED, ProgressReply.LOST, ProgressReply.GONE)
_PERMITS = (PermitStatus.GRANTED, PermitStatus.HELD, PermitStatus.LAPSED, PermitStatus.DENIED, PermitStatus.LOST)
_RELEASED = (Released.RELEASED, Released.ABSENT, Released.LOST)
_CODES = {state: code for code, state in STATES.items()}
_PORTION = 500


async def claim(
    store: Store,
    worker: str,
    functions: AbstractSet[str] | None,
    limit: int,
    lease: Micros,
    max_deliveries: int | None,
    mark: Mark,
) -> Claimed:
    """Take ready tasks under a lease."""
    rows = await store.fetch(
        store.sql("select * from docket.claim_1($1, $2, $3, $4, $5, $6, $7, $8, $9)"),
        store.docket,
        store.channel,
        store.now(),
        store.retention,
        text(worker),
        None if functions is None else sorted(function for function in functions if storable(function)),
        max(0, min(limit, 10_000)),
        length(lease),
        None if max_deliveries is None else clamped(max_deliveries),
    )
    last = rows[-1]
    claims: list[Claim] = []
    ended: list[Ended] = []
    for row in rows[:-1]:
        if row[0] == 0:
            claims.append(Claim._make(row[1:]))
        else:
            ended.append(Ended(row[1], row[4], row[7], STATES[row[10] + 10], bytes(row[6]).decode()))
    return Claimed(claims, last[2], last[8], mark, ended)


async def renew(store: Store, claims: Sequence[Claim], lease: Micros) -> list[Renewal]:
    """Make leases end `lease` from now."""
    answers: list[Renewal] = [Renewal.LOST] * len(claims)
    for wave in waves((claim.key, position) for position, claim in enumerate(claims) if storable(claim.key)):
        rows = await store.fetch_control(
            store.sql("select docket.renew_1($1, $2, $3, $4, $5)"),
            store.docket,
            store.now(),
            [key for key, _ in wave],
            [count(claims[position].token) for _, position in wave],
            length(lease),
        )
        for (_, position), code in zip(wave, rows[0][0], strict=True):
            answers[position] = _RENEWED[code]
    return answers


async def ack(store: Store, acks: Sequence[Ack]) -> list[Acked]:
    """End claims: the common shapes by one statement, what it leaves by a second."""
    answers: list[Acked] = [Acked.REFUSED] * len(acks)
    fitting: list[tuple[str, int]] = []
    for position, item in enumerate(acks):
        if refusal_of_ack(item, store.max_payload) is None:
            fitting.append((item.claim.key, position))
    for portion in portions(fitting, lambda pair: len(acks[pair[1]].result or b"")):
        for wave in waves(portion, as_given=True):
            positions = [position for _, position in wave]
            for position, answer in zip(positions, await _ack_some(store, [acks[p] for p in positions]), strict=True):
                answers[position] = answer
    return answers


async def _ack_some(store: Store, acks: list[Ack]) -> list[Acked]:
    answers: list[Acked | None] = [None] * len(acks)
    plain = [number for number, item in enumerate(acks) if VERDICTS[item.verdict] <= 5 and item.successor is None]
    if plain:
        plain.sort(key=lambda number: acks[number].claim.key)
        for position in await _finish(store, [acks[number] for number in plain]):
            answers[plain[position - 1]] = Acked.ACKED
    rest = [number for number, answer in enumerate(answers) if answer is None]
    if rest:
        for number, code in zip(rest, await _settle(store, [acks[number] for number in rest]), strict=True):
            answers[number] = _ACKED[code]
    return [answer for answer in answers if answer is not None]


async def _finish(store: Store, acks: list[Ack]) -> Sequence[int]:
    done = await store.value(
        store.sql("select docket.finish_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"),
        store.docket,
        store.channel,
        store.now(),
        store.retention,
        [item.claim.key for item in acks],
        [count(item.claim.token) for item in acks],
        [VERDICTS[item.verdict] for item in acks],
        column([item.result for item in acks]),
        column([text(item.error) for item in acks]),
        column([text(item.reason) for item in acks]),
    )
    return done or ()


async def _settle(store: Store, acks: list[Ack]) -> Sequence[int]:
    codes: Sequence[int] = await store.value(
        store.sql(
            "select docket.ack_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"
        ),
        store.docket,
        store.channel,
        store.now(),
        store.retention,
        *ack_columns(acks),
    )
    return codes


async def cancel(store: Store, keys: Sequence[str]) -> list[CancelReply]:
    """End pending tasks, ask running ones to stop."""
    answers: list[CancelReply] = [CancelReply.GONE] * len(keys)
    for wave in waves((key, position) for position, key in enumerate(keys) if storable(key)):
        codes = await store.value(
            store.sql("select docket.cancel_1($1, $2, $3, $4, $5)"),
            *(store.docket, store.channel, store.now(), store.retention, [key for key, _ in wave]),
        )
        for (_, position), code in zip(wave, codes, strict=True):
            answers[position] = _CANCELLED[code]
    return answers


async def clear(store: Store) -> int:
    """End all that was pending when it began, in portions."""
    before = await store.value(store.sql("select nextval('docket.seq')"))
    cleared = 0
    after: str | None = ""
    while after is not None:
        rows = await store.fetch(
            store.sql("select * from docket.clear_1($1, $2, $3, $4, $5, $6, $7)"),
            *(store.docket, store.channel, store.now(), store.retention, before, after, _PORTION),
        )
        cleared, after = cleared + rows[0][0], rows[0][1]
    return cleared


async def prune(store: Store, limit: int) -> int:
    """Remove what nobody needs any more, in portions."""
    removed = 0
    while removed < limit:
        portion = min(limit - removed, _PORTION)
        done: int = await store.value(
            store.sql("select docket.prune_1($1, $2, $3, $4, $5)"),
            *(store.docket, store.channel, store.now(), store.retention, portion),
        )
        removed += done
        if done < portion:
            break
    return removed


async def acquire(store: Store, requests: Sequence[PermitRequest]) -> list[Permit]:
    """Take permits; groups on one key go one after the other."""
    answers: list[Permit] = [Permit(PermitStatus.REFUSED, None, request.gate.name) for request in requests]
    pending: list[tuple[str, tuple[int, list[PermitRequest]]]] = []
    for start, group in groups(requests):
        if storable(group[0].claim.key) and not any(is_refused(request) for request in group):
            pending.append((group[0].claim.key, (start, group)))
    for wave in waves(pending, as_given=True):
        flat: list[tuple[int, int, PermitRequest]] = []
        for _, (start, group) in wave:
            flat += [(start, start + number, item) for number, item in enumerate(group)]
        rows = await store.fetch(
            store.sql("select * from docket.acquire_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"),
            store.docket,
            store.channel,
            store.now(),
            [start for start, _, _ in flat],
            [item.claim.key for _, _, item in flat],
            [count(item.claim.token) for _, _, item in flat],
            [name(item.gate.name) for _, _, item in flat],
            [clamped(item.gate.limit) for _, _, item in flat],
            [name(item.holder) for _, _, item in flat],
            [length(item.ttl) for _, _, item in flat],
            [item.bound for _, _, item in flat],
            [item.extend_on_conflict for _, _, item in flat],
        )
        for (_, position, _), (status, until, by) in zip(flat, rows, strict=True):
            answers[position] = Permit(_PERMITS[status], until, flat[int(by) - 1][2].gate.name)
    return answers


async def release(store: Store, requests: Sequence[PermitRequest]) -> list[Released]:
    """Give permits back."""
    codes = await store.value(
        store.sql("select docket.release_1($1, $2, $3, $4, $5, $6, $7)"),
        store.docket,
        store.channel,
        store.now(),
        [text(request.claim.key) for request in requests],
        [count(request.claim.token) for request in requests],
        [name(request.gate.name) for request in requests],
        [name(request.holder) for request in requests],
    )
    return [_RELEASED[code] for code in codes]


async def progress(store: Store, updates: Sequence[ProgressUpdate]) -> list[ProgressReply]:
    """Add to the progress of running tasks."""
    answers: list[ProgressReply] = [ProgressReply.GONE] * len(updates)
    for wave in waves((item.claim.key, position) for position, item in enumerate(updates) if storable(item.claim.key)):
        items = [updates[position] for _, position in wave]
        codes = await store.value(
            store.sql("select docket.progress_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"),
            store.docket,
            store.channel,
            store.now(),
            [item.claim.key for item in items],
            [count(item.claim.generation) for item in items],
            [count(item.claim.token) for item in items],
            [count(item.increment) for item in items],
            [count(item.total) for item in items],
            [text(item.message) for item in items],
            [item.clear_message for item in items],
        )
        for (_, position), code in zip(wave, codes, strict=True):
            answers[position] = _PROGRESS[code]
    return answers


async def get(store: Store, keys: Sequence[str]) -> list[Record | None]:
    """What is kept of these keys."""
    wanted = sorted({key for key in keys if storable(key)})
    found = await _records(store, wanted) if wanted else {}
    return [found.get(key) for key in keys]


async def scan(store: Store, states: AbstractSet[State], limit: int, after: str | None) -> Page:
    """Records in the order of their keys."""
    if limit <= 0:
        return Page([], after)
    rows = await store.fetch_slowly(
        store.sql("select docket.scan_1($1, $2, $3, $4, $5)"),
        *(store.docket, store.now(), [_CODES[state] for state in states], text(after) or "", limit + 1),
    )
    keys: list[str] = rows[0][0]
    found = await _records(store, keys[:limit]) if keys else {}
    return Page([found[key] for key in keys[:limit] if key in found], keys[limit - 1] if len(keys) > limit else None)


async def _records(store: Store, keys: Sequence[str]) -> dict[str, Record]:
    rows = await store.fetch(store.sql("select * from docket.get_1($1, $2, $3)"), store.docket, store.now(), list(keys))
    return records(rows, rows[0][27]) if rows else {}


async def counts(store: Store) -> list[FunctionCounts]:
    """How many live tasks each function has."""
    rows = await store.fetch_slowly(store.sql(_COUNTS), store.docket, store.now())
    return [FunctionCounts(*row) for row in rows]


_COUNTS = """
    with c as materialized (select docket.now_1($2) as now),
    parts as (
      select t.function, t.state, t.due > c.now as later, t.place is not null as parked
      from docket.task t, c where t.docket = $1 and t.state <= 2
      union all
      select a.function, 2, false, false from docket.aside a, c
      where a.docket = $1 and a.kind = 2 and a.lease > c.now)
    select function, count(*) filter (where state = 1 and later and not parked),
      count(*) filter (where state = 1 and not later and not parked),
      count(*) filter (where state = 2), count(*) filter (where parked)
    from parts group by function order by function
"""


async def heartbeat(store: Store, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
    """Say that a worker lives."""
    await store.fetch_control(
        store.sql(
            "insert into docket.worker as w (docket, name, functions, seen, until)"
            " select $1, $2, $3, x.now, x.now + $5 from docket.now_1($4) x(now)"
            " on conflict (docket, name) do update"
            " set functions = excluded.functions, seen = excluded.seen, until = excluded.until"
        ),
        *(store.docket, text(worker), sorted(text(item) or "" for item in functions), store.now(), length(ttl)),
    )


async def retire(store: Store, worker: str) -> None:
    """Say that a worker has ended."""
    await store.fetch(
        store.sql("delete from docket.worker where docket = $1 and name = $2"), store.docket, text(worker)
    )


async def workers(store: Store, function: str | None) -> list[WorkerRecord]:
    """The workers that live."""
    rows: Sequence[Row] = await store.fetch(
        store.sql(
            "select w.name, w.functions, w.seen from docket.worker w, docket.now_1($2) x(now)"
            " where w.docket = $1 and w.until > x.now and ($3::text is null or $3 = any(w.functions))"
            " order by w.name"
        ),
        *(store.docket, store.now(), text(function)),
    )
    return [WorkerRecord(row[0], frozenset(row[1]), row[2]) for row in rows]


async def strike(store: Store, rule_id: str, instruction: bytes | None) -> int:
    """Record an instruction; answers its number."""
    rows = await store.fetch(
        store.sql("select docket.strike_2($1, $2, $3, $4)"), store.docket, store.channel, text(rule_id), instruction
    )
    return int(rows[0][0])


async def strikes(store: Store) -> Sequence[Row]:
    """All instructions in order, as `strikes_1` answers them."""
    return await store.fetch_control(store.sql("select * from docket.strikes_1($1)"), store.docket)


async def strikes_after(store: Store, number: int) -> Sequence[Row]:
    """The instructions after a number, in order: number, rule, instruction."""
    return await store.fetch_control(
        store.sql(
            "select s.seq, s.rule, s.instruction from docket.strike s where s.docket = $1 and s.seq > $2 order by s.seq"
        ),
        *(store.docket, number),
    )
