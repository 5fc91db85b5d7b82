"""What a claim takes, and what else walks through many keys."""

from collections.abc import Set as AbstractSet
from itertools import islice

from docket_core.backend.model import Claim, Claimed
from docket_core.backend.records import FunctionCounts, Record
from docket_core.backend.states import State
from docket_lmdb.database import Tx, number
from docket_lmdb.documents import Entry
from docket_lmdb.index import due, earliest
from docket_lmdb.step import PORTION, Step


def claim(
    step: Step, worker: str, functions: AbstractSet[str] | None, limit: int, lease: int, max_deliveries: int | None
) -> Claimed:
    tx, now = step.tx, step.now
    ended = step.end_lapsed(PORTION)
    claims: list[Claim] = []
    for key_id in due(tx, b"l", functions, now):
        entry, part = step.live(key_id)
        poisonous = max_deliveries is not None and part.delivery >= max_deliveries
        if poisonous or part.cancel_requested:
            if len(ended) >= PORTION:
                break
            state, reason = (State.FAILED, "poison") if poisonous else (State.CANCELLED, "cancelled")
            error = f"granted {part.delivery} times without an end: its worker died or lost it each time"
            ended.append(step.end(entry, part, state, None, error if poisonous else None, reason))
            entry.save()
        elif len(claims) < limit:
            step.gates.lease_ended(part)
            claims.append(step.grant(entry, part, worker, lease, max_deliveries))
        else:
            break
    while len(claims) < limit and (parked := step.gates.wakeable(functions)) is not None:
        claims.append(step.grant(*step.live(parked), worker, lease, max_deliveries))
    ready = islice(due(tx, b"r", functions, now), limit - len(claims))
    claims += (step.grant(*step.live(key_id), worker, lease, max_deliveries) for key_id in ready)
    step.gates.settle()
    return Claimed(claims, now, _next_at(tx, functions), tx.count(b"pushes"), ended)


def _next_at(tx: Tx, functions: AbstractSet[str] | None) -> int | None:
    ending = tx.first(b"x")
    moments = [earliest(tx, table, functions) for table in (b"r", b"l", b"a")]
    moments.append(int.from_bytes(ending[0][1:9], "big") if ending is not None else None)
    return min((moment for moment in moments if moment is not None), default=None)


def pushed_since(step: Step, functions: set[bytes] | None, mark: int) -> tuple[bool, int]:
    """Whether there was a push for these functions (their digests) after a claim's mark, and what commit was read."""
    if functions is None:
        return step.tx.count(b"pushes") != mark, step.tx.snapshot
    pushed = any((step.tx.get(b"u" + function) or b"") > number(mark) for function in functions)
    return pushed, step.tx.snapshot


def prune(step: Step, limit: int) -> int:
    tx = step.tx
    removed = len(step.end_lapsed(limit))
    while removed < limit and (first := tx.first(b"k")) is not None and first[0][1:9] <= number(step.now):
        Entry(tx, first[1], step.now).save()  # without what its retention has released
        removed += 1
    removed += step.gates.prune(limit - removed)
    gone = (key for key, text in tx.walk(b"h") if int.from_bytes(text[:8], "big") <= step.now)
    for key in list(islice(gone, limit - removed)):
        tx.delete(key)
        removed += 1
    return removed


def clear(step: Step, boundary: int, after: bytes) -> tuple[int, bytes | None]:
    """End what is pending since before `boundary` among the next keys: how many, and where to go on."""
    keys = list(islice(step.tx.walk(b"e", after), PORTION))
    cleared = 0
    for key, _ in keys:
        entry = Entry(step.tx, key[1:], step.now)
        part = entry.live
        if part is not None and not part.running and part.pending_since <= boundary:
            step.end(entry, part, State.CANCELLED, reason="cleared")
            entry.save()
            cleared += 1
    return cleared, keys[-1][0][1:] + b"\0" if len(keys) == PORTION else None


def scan(step: Step, states: AbstractSet[State], limit: int, after: bytes) -> tuple[list[Record], bytes | None]:
    """Up to `limit` records among the next keys, and where to go on."""
    found: list[Record] = []
    for seen, (key, _) in enumerate(step.tx.walk(b"e", after)):
        if len(found) == limit or seen == PORTION:
            return found, key[1:]
        entry = Entry(step.tx, key[1:], step.now)
        record = entry.record(step.now) if entry.states(step.now) & states else None
        if record is not None:
            found.append(record)
    return found, None


def counts(step: Step) -> list[FunctionCounts]:
    """Read from the indexes; only what has to do with holds is looked at itself."""
    tx, now = step.tx, step.now
    table: dict[str, list[int]] = {}
    names: dict[bytes, str] = {}

    def count(function: bytes, key_id: bytes, column: int) -> None:
        if function not in names:
            names[function] = step.live(key_id)[1].function
        table.setdefault(names[function], [0, 0, 0, 0])[column] += 1

    for key, key_id in tx.walk(b"r"):
        count(key[1:17], key_id, 1 if key[17:25] <= number(now) else 0)
    for key, key_id in tx.walk(b"l"):
        count(key[1:17], key_id, 2)
    for key, key_id in tx.walk(b"w"):
        count(key[17:33], key_id, 3)
    for _, key_id in tx.walk(b"x"):
        entry = Entry(tx, key_id, now)
        if entry.hold is not None:
            if entry.live is not None:
                column = 1 if entry.live.state(now) is State.QUEUED else 0
                table.setdefault(entry.live.function, [0, 0, 0, 0])[column] += 1
            if entry.hold.lease_until > now:
                table.setdefault(entry.hold.function, [0, 0, 0, 0])[2] += 1
    return [FunctionCounts(function, *row) for function, row in sorted(table.items())]
