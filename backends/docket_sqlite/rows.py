"""From rows of `docket_tasks` to the records of the seam, and back to nothing else."""

from collections.abc import Iterable
from typing import Any

from docket_core.backend.clock import Micros
from docket_core.backend.records import Hold, Last, Live, Progress, Record
from docket_core.backend.states import State
from docket_sqlite.stages import ENDED_STAGES, HELD, RUNNING, STATE_OF_STAGE

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


_COMMON = ("function", "payload", "headers", "run", "generation", "attempt", "delivery", "when")
_STAGE, _LEASE_UNTIL, _EXPIRES_AT = (RECORD_COLUMNS.index(name) for name in ("stage", "lease_until", "expires_at"))


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
        key, stage = row[0], row[_STAGE]
        record = found.get(key)
        if stage in ENDED_STAGES:
            if row[_EXPIRES_AT] > now:
                last = _last(row)
                found[key] = Record(key, None, last) if record is None else record._replace(last=last)
        elif stage == HELD:
            if row[_LEASE_UNTIL] > now:
                hold = _hold(row)
                found[key] = Record(key, None, None, hold) if record is None else record._replace(hold=hold)
        else:
            live = _live(row, now)
            found[key] = Record(key, live) if record is None else record._replace(live=live)
    return found


def _live(row: tuple[Any, ...], now: Micros) -> Live:
    held = row[_STAGE] == RUNNING
    return Live(
        state=state_of(row[_STAGE], row[9], now),
        **_common(row),
        parked_at=row[15],
        worker=row[10] if held else None,
        token=row[11] if held else None,
        started_at=row[12] if held else None,
        lease_until=row[13] if held else None,
        cancel_requested=bool(row[14]),
        progress=Progress(row[16] or 0, *row[17:20]) if row[19] is not None else None,
    )


def _last(row: tuple[Any, ...]) -> Last:
    return Last(
        state=STATE_OF_STAGE[row[_STAGE]],
        **_common(row),
        worker=row[10],
        started_at=row[12],
        completed_at=row[20],
        expires_at=row[_EXPIRES_AT],
        result=row[22],
        error=row[23],
        reason=row[24],
    )


def _hold(row: tuple[Any, ...]) -> Hold:
    return Hold(
        **_common(row),
        worker=row[10],
        token=row[11],
        started_at=row[12],
        lease_until=row[_LEASE_UNTIL],
        cancel_requested=bool(row[14]),
    )


def _common(row: tuple[Any, ...]) -> dict[str, Any]:
    """What the parts have in common."""
    return dict(zip(_COMMON, row[2:10], strict=True))
