"""What a worker does beside running tasks: shows itself, hears of cancels, tidies up, seeds."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from docket_core import instrumentation
from docket_core.backend.clock import SECOND, Micros, background, from_micros, to_micros
from docket_core.backend.kit import backoff, jittered, sleep
from docket_core.backend.records import CancelRequested, FunctionCounts, Topic
from docket_core.dependencies.perpetual import Perpetual
from docket_core.errors import BackendError, DocketError
from docket_core.logs import get_logger
from docket_core.worker.run import Stop

if TYPE_CHECKING:
    from docket_core.worker.worker import Worker

logger = get_logger("docket_core.worker")

PRUNE_INTERVAL: Micros = 5 * SECOND
PRUNE_PORTION = 1000
RESEED_INTERVAL: Micros = 10 * SECOND
"""An automatic task whose chain was severed is alive again after this time."""
MEASURE_INTERVAL: Micros = 10 * SECOND
"""How often the depth gauges are set, where metrics are collected."""
LEAVING = 0.1
"""How long the end of these tasks may take, in seconds."""
READY_FOR = 3.0
"""A worker is ready if it could claim, or had no room to, within so many seconds beside its longest pause."""


class Services:
    """Tasks that run as long as their worker does; none of them ends because the store is away."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._tasks: list[asyncio.Task[None]] = []
        self._errands: set[asyncio.Task[None]] = set()
        self._seeded = asyncio.Event()

    async def seeded(self) -> None:
        """Return once automatic tasks have been put on the docket, or could not be: they will be, later."""
        if self._worker.schedule_automatic_tasks:
            await self._seeded.wait()

    def start(self) -> None:
        """Begin all of them."""
        self._seeded.clear()
        jobs: list[Callable[[], Awaitable[None]]] = [self._show, self._hear_cancels, self._tidy, self._measure]
        if self._worker.schedule_automatic_tasks:
            jobs.append(self._seed)
        self._tasks = [
            asyncio.create_task(self._persist(job), name=f"docket worker {job.__name__.strip('_')}") for job in jobs
        ]

    async def close(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        errands = [*self._tasks, *self._errands]
        if errands:
            await asyncio.wait(errands, timeout=LEAVING)

    def spawn(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do something once, beside what else goes on; a failure is logged."""
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("an errand of worker %s failed: %s", self._worker.name, error)

    async def _persist(self, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` again and again while the store is away."""
        background.set(True)
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await job()
            except BackendError as error:
                failures = failures + 1 if time.monotonic() - began < 10 else 1
                logger.debug("%s: %s", job.__name__, error)
            except Exception:
                failures += 1
                logger.exception("%s failed, will try again", job.__name__)
            await sleep(self._worker.clock, backoff(failures + 1, SECOND // 20, self._worker.longest_pause))

    async def _show(self) -> None:
        """Show that the worker lives and can claim, at the docket's interval."""
        worker, docket = self._worker, self._worker.docket
        await worker.has_claimed()
        while True:
            interval = to_micros(docket.heartbeat_interval)
            if worker.is_ready():
                ttl = interval * docket.missed_heartbeats
                await docket.backend.heartbeat(worker.name, docket.functions.names, ttl)
            await sleep(worker.clock, interval)

    async def _hear_cancels(self) -> None:
        """Stop a task as soon as its cancel is requested; the next renewal would tell as well."""
        async with self._worker.docket.backend.subscribe({Topic.CANCEL}, None) as events:
            async for event in events:
                if isinstance(event, CancelRequested):
                    self._worker.stop_run(event.token, Stop.CANCELLED)

    async def _tidy(self) -> None:
        """Remove what retention has released."""
        backend = self._worker.docket.backend
        while True:
            pruned = PRUNE_PORTION
            while pruned >= PRUNE_PORTION:
                pruned = await backend.prune(PRUNE_PORTION)
            await sleep(self._worker.clock, jittered(PRUNE_INTERVAL))

    async def _measure(self) -> None:
        """Tell metrics how many tasks wait, by function; asks nothing of the store where nobody collects them."""
        worker, docket = self._worker, self._worker.docket
        told: set[str] = set()
        while True:
            if instrumentation.measured():
                waiting = {row.function: row for row in await docket.backend.counts()}
                for name in told | waiting.keys():
                    row = waiting.get(name, FunctionCounts(name))
                    labels = docket.labels() | {"docket.task": name}
                    instrumentation.QUEUE_DEPTH.set(row.queued, labels)
                    instrumentation.SCHEDULE_DEPTH.set(row.scheduled + row.parked, labels)
                told = set(waiting)
            await sleep(worker.clock, jittered(MEASURE_INTERVAL))

    async def _seed(self) -> None:
        """Put automatic tasks on the docket; one that is there already is kept."""
        while True:
            try:
                await _seed(self._worker, again=self._seeded.is_set())
            finally:
                self._seeded.set()
            await sleep(self._worker.clock, jittered(RESEED_INTERVAL))


async def _seed(worker: "Worker", *, again: bool) -> None:
    """Add every automatic task under its function's name, unless it is struck; one whose runs are counted only before
    the first claim, as the store might come to it after its last run."""
    docket = worker.docket
    await docket.wait_for_strikes_loaded()
    now = from_micros(worker.clock.now())
    for name in list(docket.tasks):
        task = docket.functions.described(name)
        perpetual = task.of_kind(Perpetual)
        if isinstance(perpetual, Perpetual) and perpetual.automatic and not (again and worker.is_counted(name)):
            try:
                await docket.add(name, when=perpetual.initial_due(now), key=name)()
            except BackendError:
                raise
            except (DocketError, TypeError) as error:
                logger.error("the automatic task %s cannot be put on the docket: %s", name, error)  # noqa: TRY400
