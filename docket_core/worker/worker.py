"""The worker: takes tasks off a docket and runs them, as many at a time as it has slots."""

import asyncio
import os
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from uncalled_for import Dependency, SharedContext, resolved_dependencies

from docket_core.backend.clock import SECOND, Clock, to_micros
from docket_core.backend.kit import check_label
from docket_core.backend.model import Ack, Acked, Claim
from docket_core.backend.observed import ObservedBackend
from docket_core.backend.protocol import Backend
from docket_core.codec import Codec
from docket_core.codec_paths import as_codec
from docket_core.docket import Docket
from docket_core.errors import BackendError, ConfigurationError
from docket_core.functions import AnyFunction, TaskFunction
from docket_core.logs import get_logger
from docket_core.worker.acker import Acker
from docket_core.worker.active import ActiveRuns
from docket_core.worker.answers import Answers
from docket_core.worker.around import around_function
from docket_core.worker.fallback import as_fallback
from docket_core.worker.intake import Intake
from docket_core.worker.leases import LeaseKeeper
from docket_core.worker.run import Run, Stop
from docket_core.worker.runner import Runner
from docket_core.worker.services import READY_FOR, Services
from docket_core.worker.waiting import Threads, unless

if TYPE_CHECKING:
    from docket_core.worker.entry import WorkerOptions

logger = get_logger("docket_core.worker")

UNACKED = 200
"""With so many verdicts unanswered, or as many as it has slots, a worker takes no more tasks."""
LEAVING = 0.6
"""How long it may take to give back what is cancelled, in seconds; all of leaving at once is over in one."""
RETIRING = 0.1
"""How long saying goodbye may take, in seconds."""


class Worker:
    """Runs tasks of one docket. Use it as an async context manager, then call one of the `run_` methods.

    A function that is not async runs in a thread, with the run's context variables; there are as many threads as
    `concurrency`. A thread cannot be stopped: where such a task is cancelled, runs into its timeout or is given back
    at the worker's end, its run ends at once, but the body goes on beside what comes next, even beside a second run of
    the same task; what it returns counts for nothing.

    Args:
        docket: an open docket.
        name: unique among the docket's workers; None is host#pid.
        concurrency: how many tasks run at a time.
        redelivery_timeout: the length of a lease; it is renewed while a task runs, and after it another worker
            takes over what a dead one had.
        reconnection_delay: the longest pause between tries while the store is away.
        minimum_check_interval: accepted for compatibility; a worker waits for a push and does not poll.
        scheduling_resolution: accepted for compatibility.
        schedule_automatic_tasks: put automatic perpetual tasks on the docket.
        enable_internal_instrumentation: spans for every operation on the store.
        fallback_task: a function, or "module:function", that takes the tasks that nobody here knows; None
            leaves them for a worker that does.
        dependencies: run around every task: dependencies by name, or a sequence of them.
        max_deliveries: how often one task may be granted before it is given up as FAILED; None is without bound.
        shutdown_grace: how long running tasks may go on after the worker was told to stop; None waits for all.

    Raises:
        ValueError: a number or time that makes no sense.
        InvalidKey: the name is outside its bounds.
    """

    def __init__(
        self,
        docket: Docket,
        name: str | None = None,
        concurrency: int = 10,
        redelivery_timeout: timedelta = timedelta(seconds=30),
        reconnection_delay: timedelta = timedelta(seconds=2),
        minimum_check_interval: timedelta = timedelta(milliseconds=250),
        scheduling_resolution: timedelta = timedelta(milliseconds=250),
        schedule_automatic_tasks: bool = True,
        enable_internal_instrumentation: bool = False,
        fallback_task: AnyFunction | str | None = None,
        dependencies: Mapping[str, Dependency[Any]] | Sequence[Dependency[Any]] | None = None,
        max_deliveries: int | None = 5,
        shutdown_grace: timedelta | None = None,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError(f"a worker needs at least one slot, not a concurrency of {concurrency}")
        if redelivery_timeout < timedelta(milliseconds=100):
            raise ConfigurationError(f"a redelivery_timeout of {redelivery_timeout} is too short; give at least 100 ms")
        if max_deliveries is not None and max_deliveries < 1:
            raise ConfigurationError(f"max_deliveries is at least 1, or None, not {max_deliveries}")
        self.docket = docket
        self.name = name or f"{socket.gethostname()}#{os.getpid()}"
        check_label("worker name", self.name)
        self.concurrency = concurrency
        self.redelivery_timeout = redelivery_timeout
        self.reconnection_delay = reconnection_delay
        self.minimum_check_interval = minimum_check_interval
        self.scheduling_resolution = scheduling_resolution
        self.schedule_automatic_tasks = schedule_automatic_tasks
        self.enable_internal_instrumentation = enable_internal_instrumentation
        self.max_deliveries = max_deliveries
        self.shutdown_grace = shutdown_grace
        self.fallback = as_fallback(fallback_task) if fallback_task is not None else None
        self.lease = to_micros(redelivery_timeout)
        self.longest_pause = max(to_micros(reconnection_delay), SECOND // 20)
        self.threads: ThreadPoolExecutor | None = None
        """Where functions that are not async run; made when a worker runs."""
        self._around = around_function(dependencies)
        self.has_dependencies = self._around is not None
        """Whether something is to be resolved around every task."""
        self._active: ActiveRuns | None = None
        self._acker: Acker | None = None
        self._intake: Intake | None = None
        self._main: asyncio.Task[Any] | None = None
        self._services = Services(self)
        self._answers = Answers(docket, self._services)
        self._left: dict[str, int] | None = None
        self._hurry = asyncio.Event()
        self._stop_early = False

    async def __aenter__(self) -> Self:
        self._stop_early = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._intake is not None:
            self.stop()

    def __repr__(self) -> str:
        return f"<Worker {self.name!r} of {self.docket!r}>"

    @property
    def clock(self) -> Clock:
        """The clock for timers."""
        return self.docket.clock

    @classmethod
    async def run(
        cls,
        docket_name: str = "docket",
        url: str | None = None,
        name: str | None = None,
        *,
        until_finished: bool = False,
        healthcheck_port: int | None = None,
        metrics_port: int | None = None,
        tasks: Iterable[str] = (),
        execution_ttl: timedelta = timedelta(minutes=15),
        codec: Codec | str | None = None,
        **options: "Unpack[WorkerOptions]",
    ) -> None:
        """Run a worker as a process of its own does: opens the docket, and ends in good order at SIGTERM or SIGINT.

        Args:
            docket_name, url, execution_ttl: the docket, as `Docket` takes them.
            name: the worker's, as `options` are what else `Worker` takes.
            until_finished: end once there is nothing ready, scheduled or active.
            healthcheck_port: serve `/live` and `/ready` there.
            metrics_port: serve metrics for Prometheus there.
            tasks: collections to register, `package.module:attribute`.
            codec: the docket's, or `package.module:attribute`.

        Raises:
            ConfigurationError: a path leads to nothing of the kind.
        """
        from docket_core.worker.entry import run_worker  # noqa: PLC0415 - only a process of its own needs it

        docket = Docket(docket_name, url, execution_ttl=execution_ttl, codec=as_codec(codec))
        for path in tasks:
            docket.register_collection(path)
        worker = cls(docket, name, **options)
        await run_worker(
            worker, until_finished=until_finished, healthcheck_port=healthcheck_port, metrics_port=metrics_port
        )

    async def run_forever(self) -> None:
        """Run tasks until `stop` is called or this is cancelled; then end what runs, within the grace.

        Cancelled once more while it ends, it leaves at once: what runs is cancelled and given back.
        """
        await self._run(until_finished=False)

    async def run_until_finished(self) -> None:
        """Run tasks until there is nothing ready, scheduled or active of what this worker knows."""
        await self._run(until_finished=True)

    async def run_at_most(self, iterations_by_key: Mapping[str, int]) -> None:
        """As `run_until_finished`, but after so many runs these keys are not continued.

        Args:
            iterations_by_key: for a perpetual task's key, how often it may run.
        """
        self._left = dict(iterations_by_key)
        try:
            await self._run(until_finished=True)
        finally:
            self._left = None

    def stop(self) -> None:
        """Take no more tasks, and end once what runs has ended. Called again, leave at once.

        Called before a `run_` method has begun, it ends that one at its beginning.
        """
        if self._intake is None:
            self._stop_early = True
            return
        if self._intake.stopping:
            self._hurry.set()
        self._intake.stop()

    def is_ready(self) -> bool:
        """Whether this worker could claim lately."""
        return self._intake is not None and self._intake.could_claim(READY_FOR + self.longest_pause / SECOND)

    async def has_claimed(self) -> None:
        """Return once a claim has gone through."""
        if self._intake is not None:
            await self._intake.claimed.wait()

    def is_leaving(self) -> bool:
        """Whether it was told to stop, or was cancelled."""
        intake = self._intake
        if intake is None or intake.stopping:
            return True
        return self._main is not None and self._main.cancelling() > intake.interruptions

    @property
    def backend(self) -> Backend:
        """The docket's open store, with spans for every operation if this worker asks for them."""
        backend = self.docket.backend
        return ObservedBackend(backend, instrumented=True) if self.enable_internal_instrumentation else backend

    # --- what the worker's parts ask it -----------------------------------------------------------

    def around(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """The worker-wide dependencies, for one run."""
        return nullcontext({}) if self._around is None else resolved_dependencies(self._around)

    def claimable(self) -> frozenset[str] | None:
        """The functions to claim; None is all, for a fallback."""
        return None if self.fallback is not None else self.docket.functions.names

    def knows(self, function: str) -> bool:
        """Whether it runs tasks of this name."""
        return self.fallback is not None or function in self.docket.functions.names

    def knows_only(self, functions: Collection[str]) -> bool:
        """Whether it runs tasks of these names and of no others."""
        return self.fallback is None and self.docket.functions.names <= set(functions)

    def room(self) -> int:
        """How many more tasks this worker can take now."""
        acker = self._acker
        if acker is None or (acker.unacked >= UNACKED and acker.unacked >= self.concurrency):
            return 0
        if self._active is None:
            return self.concurrency
        return self._active.room(ahead=self._left is None)

    @property
    def _busy(self) -> int:
        return self._active.busy if self._active is not None else 0

    def is_full(self) -> bool:
        """Whether every slot is taken by a task that runs."""
        return self._busy >= self.concurrency

    def is_idle(self) -> bool:
        """Whether nothing runs, and every verdict has been answered."""
        idle = self._active is None or self._active.is_idle
        return idle and (self._acker is None or not self._acker.unacked)

    def may_go_on(self, key: str) -> bool:
        """Whether a run of this key may be followed by another one."""
        return self._left is None or self._left.get(key, 1) > 0

    def is_counted(self, key: str) -> bool:
        """Whether this key may only run so often."""
        return self._left is not None and key in self._left

    def begin(self, claim: Claim, confirmed_until: float) -> None:
        """Start to run a claim."""
        if self._left is not None and claim.key in self._left:
            self._left[claim.key] -= 1
        if self._active is not None:
            self._active.take(claim, confirmed_until)

    def give_back(self, claim: Claim) -> None:
        """Leave a claim to others, and to another time."""
        if self._active is not None:
            self._active.give_back(claim)

    def begin_soon(self) -> None:
        """Let what was claimed begin a turn of the event loop later."""
        if self._active is not None:
            asyncio.get_running_loop().call_soon(self._active.begin_taken)

    def begin_now(self) -> None:
        """Let what was claimed begin in the next turn of the event loop."""
        if self._active is not None:
            self._active.begin_taken()

    def prepare(self) -> None:
        """There is time for what makes the next run begin sooner."""
        if self._active is not None:
            self._active.prepare()

    async def begun(self) -> None:
        """Let what was claimed begin, before anything else is done."""
        self.begin_now()
        await asyncio.sleep(0)

    def stop_run(self, token: int, why: Stop) -> None:
        """Stop the run with this token, if it is here."""
        if self._active is not None:
            self._active.stop(token, why)

    # --- the life of a worker ---------------------------------------------------------------------

    async def _run(self, *, until_finished: bool) -> None:
        if self._intake is not None:
            raise RuntimeError(f"{self!r} is running already")
        self._hurry = asyncio.Event()
        self._main = asyncio.current_task()
        intake = self._intake = Intake(self, until_finished)
        if self._stop_early:
            self._stop_early = False
            intake.stop()
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(SharedContext())
                self.threads = stack.enter_context(Threads(self.concurrency))
                active = self._start(stack, intake)
                try:
                    await unless(intake.stopped, self._ready())
                    await intake.run()
                finally:
                    await self._drain(intake, active)
        finally:
            self._intake = self._active = self._main = None
            self.threads = None

    def _start(self, stack: AsyncExitStack, intake: Intake) -> ActiveRuns:
        acker = self._acker = Acker(self.backend, self.clock, self.longest_pause, self._acked)
        leases = LeaseKeeper(self.docket.open_backend, self.clock, self.lease, self._stop_held)
        active = self._active = ActiveRuns(
            self.docket,
            Runner(self),
            self._function_for,
            acker,
            leases,
            self.concurrency,
            intake.nudge,
            self.max_deliveries,
        )
        services = self._services
        stack.push_async_callback(self._retire)
        stack.callback(active.close)
        stack.push_async_callback(leases.close)
        stack.push_async_callback(acker.close)
        stack.push_async_callback(services.close)
        leases.start()
        services.start()
        known = "whatever there is" if self.fallback is not None else ", ".join(sorted(self.docket.tasks))
        logger.info("worker %s starts on %r, %d tasks at a time: %s", self.name, self.docket, self.concurrency, known)
        return active

    async def _ready(self) -> None:
        """Strikes come before the first task, and automatic tasks before the question whether all is done."""
        await self.docket.wait_for_strikes_loaded()
        await self._services.seeded()

    async def _drain(self, intake: Intake, active: ActiveRuns) -> None:
        """End what runs: within the grace by itself, then cancelled and given back."""
        intake.stop()
        active.give_back_ahead()
        if len(active):
            logger.info("worker %s stops; %d tasks are running", self.name, len(active))
        grace = self.shutdown_grace.total_seconds() if self.shutdown_grace is not None else None
        try:
            await unless(self._hurry, self._end(intake, active), grace)
        finally:
            active.stop_all()
            await unless(None, self._end(intake, active), LEAVING)

    async def _end(self, intake: Intake, active: ActiveRuns) -> None:
        """Give back what was claimed too late, and let what runs end and be answered."""
        late = await intake.late_claims()
        for claim in late.claims if late is not None else ():
            active.give_back(claim)
        await active.settled()

    async def _retire(self) -> None:
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(RETIRING):
                await self.docket.backend.retire(self.name)

    # --- one run ----------------------------------------------------------------------------------

    def _function_for(self, claim: Claim) -> TaskFunction:
        if claim.function in self.docket.tasks:
            return self.docket.functions.described(claim.function)
        if self.fallback is None:
            raise LookupError(f"no function is registered as {claim.function!r}")
        return self.fallback

    def _acked(self, run: Run, ack: Ack, reply: Acked) -> None:
        """The store has answered a verdict."""
        if self._active is not None:
            self._active.answered(run)
        if self._intake is not None:
            self._intake.nudge()
        self._answers.note(run, ack, reply)

    def _stop_held(self, run: Run, why: Stop) -> None:
        self.stop_run(run.token, why)
