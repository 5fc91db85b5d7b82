"""Clearing a docket: all that was pending when it began, in portions."""

from typing import NamedTuple

from docket_sqlite.ending import end_pending
from docket_sqlite.parts import PART_COLUMNS
from docket_sqlite.stages import BEHIND, HELD, PARKED, PENDING
from docket_sqlite.transaction import Row, Transaction

PORTION = 500

PENDING_AFTER = f"""
SELECT {PART_COLUMNS} FROM docket_tasks
WHERE docket = ?1 AND stage = {PENDING} AND (function, ready_at, seq) > (?2, ?3, ?4)
ORDER BY function, ready_at, seq LIMIT ?5
"""
PARKED_AFTER = f"""
SELECT {PART_COLUMNS} FROM docket_tasks
WHERE id IN (SELECT task FROM docket_requests WHERE docket = ? AND parked = 1 AND task > ? ORDER BY task LIMIT ?)
AND stage = {PARKED} ORDER BY id
"""
BEHIND_HOLDS = f"""
SELECT {", ".join(f"behind.{name}" for name in PART_COLUMNS.split(", "))}
FROM docket_tasks AS hold CROSS JOIN docket_tasks AS behind
WHERE hold.docket = ?1 AND hold.ends_at IS NOT NULL AND hold.stage = {HELD}
AND behind.docket = ?1 AND behind.key = hold.key AND behind.stage = {BEHIND}
"""


class Walk(NamedTuple):
    """Where a clear has come to: first the parked, then those behind a hold, then the queue."""

    boundary: int | None = None
    parked_from: int | None = 0
    function: str = ""
    ready_at: int = -(2**63)
    seq: int = 0


def step(tx: Transaction, walk: Walk) -> tuple[int, Walk | None]:
    """Clear one portion; answers how many were ended, and how to go on, if that was not all."""
    boundary = tx.next_sequence() if walk.boundary is None else walk.boundary
    walk = walk._replace(boundary=boundary)
    if walk.parked_from is not None:
        rows: list[Row] = tx.execute(PARKED_AFTER, (tx.docket, walk.parked_from, PORTION))
        parked_from = rows[-1][0] if len(rows) == PORTION else None
        if parked_from is None:
            rows += tx.execute(BEHIND_HOLDS, (tx.docket,))
        return end_pending(tx, rows, boundary), walk._replace(parked_from=parked_from)
    rows = tx.execute(PENDING_AFTER, (tx.docket, walk.function, walk.ready_at, walk.seq, PORTION))
    cleared = end_pending(tx, rows, boundary)
    if len(rows) < PORTION:
        return cleared, None
    return cleared, walk._replace(function=rows[-1][3], ready_at=rows[-1][10], seq=rows[-1][11])
