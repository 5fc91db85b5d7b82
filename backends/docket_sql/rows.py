"""From rows of `docket_tasks` to the records of the seam, and back to nothing else."""

from collections.abc import Iterable
from typing import Any

from docket_core.backend.clock import Micros
from docket_core.backend.model import Hold, Last, Live, Progress, Record
from docket_core.backend.states import State
from docket_sql.schema import ENDED_STAGES, HELD, RUNNING, STATE_OF_STAGE

RECORD_COLUMNS = (
    "key",
    "stage",
    "function",
    "payload",
    "headers",
    "run",
    "generation",
    "attempt",
    "delivery",
    "due_at",
    "worker",
    "token",
    "started_at",
    "lease_until",
    "cancel_requested",
    "parked_at",
    "progress",
    "progress_total",
    "progress_message",
    "progress_at",
    "completed_at",
    "expires_at",
    "result",
    "error",
    "reason",
)
"""What a reader needs of a part, in the order that `records` takes."""


def state_of(stage: int, due_at: Micros, now: Micros) -> State:
    """The state that a reader sees."""
    state = STATE_OF_STAGE.get(stage)
    if state is not None:
        return state
    return State.QUEUED if due_at <= now else State.SCHEDULED


def records(rows: Iterable[tuple[Any, ...]], now: Micros) -> dict[str, Record]:
    """The records that these rows (of `RECORD_COLUMNS`) are the parts of, as they are seen at `now`."""
    found: dict[str, Record] = {}
    for row in rows:
        key, stage = row[0], row[1]
        record = found.get(key)
        if stage in ENDED_STAGES:
            if row[21] > now:
                last = _last(row)
                found[key] = Record(key, None, last) if record is None else record._replace(last=last)
        elif stage == HELD:
            if row[13] > now:
                hold = _hold(row)
                found[key] = Record(key, None, None, hold) if record is None else record._replace(hold=hold)
        else:
            live = _live(row, now)
            found[key] = Record(key, live) if record is None else record._replace(live=live)
    return found


def _live(row: tuple[Any, ...], now: Micros) -> Live:
    stage = row[1]
    held = stage == RUNNING
    worker, token, started_at, lease_until = row[10:14] if held else (None, None, None, None)
    progress = Progress(row[16] or 0, row[17], row[18], row[19]) if row[19] is not None else None
    return Live(
        state_of(stage, row[9], now),
        *row[2:10],
        row[15],
        worker,
        token,
        started_at,
        lease_until,
        bool(row[14]),
        progress,
    )


def _last(row: tuple[Any, ...]) -> Last:
    return Last(STATE_OF_STAGE[row[1]], *row[2:10], row[10], row[12], row[20], row[21], row[22], row[23], row[24])


def _hold(row: tuple[Any, ...]) -> Hold:
    return Hold(*row[2:14], bool(row[14]))
