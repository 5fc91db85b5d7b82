"""Endings: how a live part becomes the last one, and who brings that about besides an ack."""

from collections.abc import Sequence

from docket_core.backend.clock import Micros
from docket_core.backend.model import CancelReply, Ended
from docket_core.backend.records import CancelRequested, StateChanged
from docket_core.backend.states import State
from docket_sqlite import gates
from docket_sqlite.news import Wanted
from docket_sqlite.parts import FORGET, PART_COLUMNS, Entry, Part, findable, load, storable
from docket_sqlite.stages import BEHIND, PENDING, STAGE_OF_END
from docket_sqlite.transaction import Executor, Row, Transaction, distinct

END = """
UPDATE docket_tasks SET
    stage = ?, acked = ?, worker = ?, started_at = ?, completed_at = ?, expires_at = ?, error = ?, reason = ?,
    result = ?, ends_at = NULL, parked_at = NULL, progress_at = NULL, progress_message = NULL
WHERE id = ?
"""
REQUEST_CANCEL = "UPDATE docket_tasks SET cancel_requested = 1, ends_at = lease_until WHERE id = ?"
FREE = f"UPDATE docket_tasks SET stage = {PENDING} WHERE id = ?"
NEXT_ENDING = "SELECT min(ends_at) FROM docket_tasks WHERE docket = ? AND ends_at IS NOT NULL"
LAPSED = f"""
SELECT {PART_COLUMNS} FROM docket_tasks
WHERE docket = ? AND ends_at IS NOT NULL AND ends_at <= ? ORDER BY ends_at LIMIT ?
"""
PRUNE_TASKS = """
DELETE FROM docket_tasks WHERE id IN (
    SELECT id FROM docket_tasks WHERE docket = ? AND expires_at IS NOT NULL AND expires_at <= ? LIMIT ?
) RETURNING 1
"""
PRUNE_PERMITS = """
DELETE FROM docket_permits WHERE (docket, gate, holder) IN (
    SELECT docket, gate, holder FROM docket_permits
    WHERE docket = ? AND expires_at <= ? AND task IS NULL LIMIT ?
) RETURNING gate
"""
PRUNE_WORKERS = """
DELETE FROM docket_workers WHERE (docket, name) IN (
    SELECT docket, name FROM docket_workers WHERE docket = ? AND expires_at <= ? LIMIT ?
) RETURNING 1
"""


def end(
    tx: Transaction,
    entry: Entry,
    part: Part,
    state: State,
    *,
    result: bytes | None = None,
    error: str | None = None,
    reason: str | None = None,
) -> Ended:
    """Make the live part of its key the last one; with no retention, forget it."""
    if part.gated:
        gates.run_ended(tx, part)
    if entry.last is not None:
        tx.later(FORGET, (entry.last.id,))
    worker, started_at = (part.worker, part.started_at) if part.running else (None, None)
    if tx.retention > 0:
        tx.later(
            END,
            (
                STAGE_OF_END[state],
                entry.acked,
                worker,
                started_at,
                tx.now,
                tx.now + tx.retention,
                storable(error),
                storable(reason),
                result,
                part.id,
            ),
        )
    else:
        tx.later(FORGET, (part.id,))
    entry.live, entry.last = None, None
    if tx.watched:
        tx.tell(
            StateChanged(part.key, part.run, part.generation, state, part.due_at, worker, started_at, tx.now, error)
        )
    return Ended(part.key, part.function, part.run, state, reason)


def end_hold(tx: Transaction, entry: Entry, hold: Part) -> None:
    """The replaced run is over: the newer one may be claimed."""
    entry.hold = None
    if hold.gated:
        gates.run_ended(tx, hold)
    tx.later(FORGET, (hold.id,))
    live = entry.live
    if live is not None and live.stage == BEHIND:
        tx.later(FREE, (live.id,))
        live.stage = PENDING
        tx.push(live.function, live.ready_at)


def next_ending(executor: Executor, docket: int) -> Micros | None:
    """When the next lease ends that ends its run with it."""
    moment: Micros | None = executor.execute(NEXT_ENDING, (docket,))[0][0]
    return moment


def end_lapsed(tx: Transaction, limit: int) -> list[Ended]:
    """End holds, and running tasks with a requested cancel, whose lease has run out."""
    ended: list[Ended] = []
    rows = tx.execute(LAPSED, (tx.docket, tx.now, limit))
    for portion in distinct((Part(row) for row in rows), lambda part: part.key):
        entries = load(tx, [part.key for part in portion])
        for part in portion:
            entry = entries[part.key]
            if entry.hold is not None and entry.hold.id == part.id:
                end_hold(tx, entry, entry.hold)
                ended.append(Ended(part.key, part.function, part.run, State.CANCELLED, "superseded"))
            elif entry.live is not None and entry.live.id == part.id:
                ended.append(end(tx, entry, entry.live, State.CANCELLED, reason="cancelled"))
        tx.flush()
    return ended


def cancel(tx: Transaction, keys: Sequence[str]) -> list[CancelReply]:
    """End pending tasks as CANCELLED, and ask running ones to stop."""
    answers: list[CancelReply] = []
    for portion in distinct(keys, lambda key: key):
        entries = load(tx, findable(portion))
        for key in portion:
            entry = entries.get(key)
            answers.append(CancelReply.GONE if entry is None else _cancel_one(tx, entry))
        tx.flush()
    return answers


def _cancel_one(tx: Transaction, entry: Entry) -> CancelReply:
    asked = False
    if entry.hold is not None and entry.hold.lease_until > tx.now:
        _request_cancel(tx, entry.hold)
        asked = True
    if entry.live is not None and entry.live.running:
        _request_cancel(tx, entry.live)
        return CancelReply.REQUESTED
    if entry.live is not None:
        end(tx, entry, entry.live, State.CANCELLED, reason="cancelled")
        return CancelReply.CANCELLED
    return CancelReply.REQUESTED if asked else CancelReply.GONE


def _request_cancel(tx: Transaction, part: Part) -> None:
    if not part.cancel_requested:
        tx.later(REQUEST_CANCEL, (part.id,))
    if tx.wanted >= Wanted.ORDERS and part.token is not None:
        tx.tell(CancelRequested(part.key, part.generation, part.token))


def end_pending(tx: Transaction, rows: list[Row], boundary: int) -> int:
    """Cancel those of these pending parts that are so since before `boundary`; answers how many."""
    parts = [part for part in map(Part, rows) if (part.since or part.seq) <= boundary]
    entries = load(tx, [part.key for part in parts])
    for part in parts:
        end(tx, entries[part.key], part, State.CANCELLED, reason="cleared")
    tx.flush()
    return len(parts)


def prune(tx: Transaction, limit: int) -> int:
    """Remove up to `limit` things that nobody needs any more."""
    removed = len(end_lapsed(tx, limit))
    for sql in (PRUNE_TASKS, PRUNE_PERMITS, PRUNE_WORKERS):
        if removed < limit:
            rows = tx.execute(sql, (tx.docket, tx.now, limit - removed))
            removed += len(rows)
            if sql is PRUNE_PERMITS:
                tx.gates.update(gate for (gate,) in rows)
    return removed
