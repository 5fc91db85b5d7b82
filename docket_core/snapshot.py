"""What stands on a docket at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from docket_core.backend.clock import from_micros
from docket_core.backend.records import FunctionCounts, Hold, Last, Live, Record, WorkerRecord
from docket_core.backend.states import PENDING, State
from docket_core.codec import CodecContext, decode_call, decode_headers
from docket_core.errors import CodecError
from docket_core.execution import Execution
from docket_core.functions import placeholder

if TYPE_CHECKING:
    from docket_core.docket import Docket

E = TypeVar("E", bound=Execution)
LISTED = 1000
"""How many tasks a snapshot lists at most; its totals are exact."""


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that has shown itself lately."""

    name: str
    last_seen: datetime
    tasks: frozenset[str]
    """The names of the functions it can run."""


class RunningExecution(Execution):
    """An execution that runs, with the worker that has it and since when."""

    worker: str  # type: ignore[assignment, unused-ignore]
    started: datetime

    __slots__ = ("started",)


@dataclass(frozen=True)
class DocketSnapshot:
    """What stands on a docket: lists of at most 1,000 tasks each, totals exact."""

    taken: datetime
    total_tasks: int
    """All tasks that have not ended."""
    future: Sequence[Execution]
    """Scheduled and queued tasks, by their time."""
    running: Sequence[RunningExecution]
    workers: Sequence[WorkerInfo]
    counts: Sequence[FunctionCounts]
    """Exact numbers by function; what no listed worker knows is visible here."""

    @property
    def unknown(self) -> dict[str, int]:
        """How many tasks wait for a function that no live worker knows, by its name."""
        known = {name for worker in self.workers for name in worker.tasks}
        return {row.function: _waiting(row) for row in self.counts if row.function not in known and _waiting(row)}


def _waiting(row: FunctionCounts) -> int:
    return row.scheduled + row.queued + row.parked


async def take_snapshot(docket: "Docket") -> DocketSnapshot:
    """Ask the store what there is."""
    backend = docket.backend
    counts = await backend.counts()
    pending = await backend.scan(PENDING, LISTED)
    running = await backend.scan({State.RUNNING}, LISTED)
    workers = [worker_info(record) for record in await backend.workers()]
    future = [
        execution_of(docket, record.key, record.live)
        for record in pending.records
        if record.live is not None and record.live.state in PENDING
    ]
    return DocketSnapshot(
        taken=from_micros(backend.clock.now()),
        total_tasks=sum(row.scheduled + row.queued + row.running + row.parked for row in counts),
        future=sorted(future, key=lambda execution: execution.when),
        running=[found for record in running.records for found in _running(docket, record)],
        workers=workers,
        counts=counts,
    )


def worker_info(record: WorkerRecord) -> WorkerInfo:
    """A worker as the API shows it."""
    return WorkerInfo(record.name, from_micros(record.last_seen), record.functions)


def _running(docket: "Docket", record: Record) -> list[RunningExecution]:
    found: list[RunningExecution] = []
    for part in (record.live, record.hold):
        if part is None or part.worker is None or part.started_at is None:
            continue
        execution = _fill(docket, record.key, part, RunningExecution)
        execution.started = from_micros(part.started_at)
        found.append(execution)
    return found


def execution_of(docket: "Docket", key: str, part: Live | Last | Hold) -> Execution:
    """A handle on a part of a record.

    A function that is not registered here gets a placeholder; arguments that cannot be decoded are left out.
    """
    return _fill(docket, key, part, Execution)


def _fill(docket: "Docket", key: str, part: Live | Last | Hold, kind: type[E]) -> E:
    context = CodecContext(docket.name, key, part.function)
    try:
        args, kwargs = decode_call(docket.codec, context, part.payload)
    except CodecError:
        args, kwargs = (), {}
    function = docket.tasks.get(part.function) or placeholder(part.function)
    execution = kind(
        docket,
        function,
        args,
        kwargs,
        key,
        from_micros(part.when),
        part.attempt,
        decode_headers(part.headers),
        part.delivery > 1,
        part.generation,
        part.function,
        part.run,
    )
    execution.update(
        Record(
            key,
            part if isinstance(part, Live) else None,
            part if isinstance(part, Last) else None,
            part if isinstance(part, Hold) else None,
        )
    )
    return execution
