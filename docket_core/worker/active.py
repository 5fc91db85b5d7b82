"""The runs of a worker, from their claim until the store has answered their verdict."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Claim
from docket_core.functions import TaskFunction
from docket_core.logs import get_logger
from docket_core.worker.acker import Acker
from docket_core.worker.leases import LeaseKeeper
from docket_core.worker.pace import PATIENCE, Pace
from docket_core.worker.run import Run, Stop
from docket_core.worker.spare import Spare

if TYPE_CHECKING:
    from docket_core.docket import Docket
    from docket_core.worker.runner import Runner

logger = get_logger("docket_core.worker")

TRUSTED = 2
"""A task that was granted more often than this without an end may be what ends its workers: it is run alone, so that
its neighbours are not lost with it again and again, until they are given up in its place."""


class ActiveRuns:
    """Starts runs, stops them, and hands each one's verdict over, whatever becomes of it.

    Args:
        docket: whose tasks they are.
        runner: what runs them.
        find: the function to run for a claim; raises LookupError if there is none.
        acker, leases: told of each run.
        slots: how many may run at a time.
        freed: called when a slot is free.
        max_deliveries: how often a task may be granted.
    """

    def __init__(
        self,
        docket: "Docket",
        runner: "Runner",
        find: Callable[[Claim], TaskFunction],
        acker: Acker,
        leases: LeaseKeeper,
        slots: int,
        freed: Callable[[], None],
        max_deliveries: int | None,
    ) -> None:
        self._docket = docket
        self._runner = runner
        self._find = find
        self._acker = acker
        self._leases = leases
        self._slots = slots
        self._freed = freed
        self._runs: dict[int, Run] = {}
        self._ahead: dict[int, Run] = {}
        """Claimed, but not begun: they wait for a slot, a moment only."""
        self._taken: list[Run] = []
        """Theirs is a slot, but they begin a turn of the loop later: the next claim is on its way to the store then."""
        self._given_back: set[int] = set()
        """Released, until the store has answered that: what is claimed before would pass them."""
        self._pace = Pace(slots)
        self._patience: asyncio.TimerHandle | None = None
        self._context = copy_context()
        """What every run begins with a copy of: what one sets is not seen by the next."""
        self._context.run(runner.enter)
        self._spare = Spare(self._run, self._context)
        self._trusted = TRUSTED if max_deliveries is None else max(1, min(TRUSTED, max_deliveries - 1))
        self._suspect: Run | None = None
        self._alone = asyncio.Event()
        self.busy = 0
        """How many run now; one whose verdict waits for the store's answer does not."""

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or is about to."""
        return not self.busy and not self._ahead

    def room(self, *, ahead: bool) -> int:
        """How many more tasks to claim; with `ahead` also for slots that are about to be free."""
        if self._suspect is not None or self._given_back:
            return 0
        free = self._slots - self.busy
        if not ahead:
            return free
        wanted, waiting = self._pace.ahead(), len(self._ahead)
        if free <= 0 and 2 * waiting >= wanted:  # a claim for a few is not worth its round trip
            return 0
        return free + wanted - waiting

    def take(self, claim: Claim, confirmed_until: float) -> None:
        """Run a claim: now, or as soon as a slot is free."""
        run = Run(self._docket, claim, confirmed_until)
        if self.busy < self._slots:
            self._seat(run)
            return
        self._ahead[claim.token] = run
        if self._patience is None:
            self._watch()

    def begin_taken(self) -> None:
        """Make a task of every run that has its slot."""
        loop = asyncio.get_running_loop()
        for run in self._taken:
            run.task = self._spare.use(run) or loop.create_task(self._run(run), context=self._context.copy())
        self._taken.clear()

    def prepare(self) -> None:
        """There is time: what makes the next run begin sooner."""
        self._spare.prepare()

    def close(self) -> None:
        """Nothing more is to be run."""
        self._spare.close()

    def _seat(self, run: Run) -> None:
        """Give a run its slot; a suspect waits until it is alone, and a second one is given back."""
        claim = run.claim
        suspect = claim.delivery > self._trusted
        if suspect and self._suspect is not None:
            self.give_back(claim)
            return
        self._runs[claim.token] = run
        self.busy += 1
        self._leases.hold(run)
        if suspect:
            self._suspect = run
        self._taken.append(run)

    def _watch(self) -> None:
        """Give back what waits longer than is good: the tasks that run are longer than those before."""
        first = next(iter(self._ahead), None)

        def look() -> None:
            self._patience = None
            if self._ahead and next(iter(self._ahead)) == first:
                self.give_back_ahead()
                self._pace.stalled()
            elif self._ahead:
                self._watch()

        self._patience = asyncio.get_running_loop().call_later(PATIENCE, look)

    def give_back_ahead(self) -> None:
        """Release what was claimed and has not begun."""
        for run in self._ahead.values():
            self._release(run)
        self._ahead.clear()

    def give_back(self, claim: Claim) -> None:
        """Release a claim that came too late to be run."""
        self._release(Run(self._docket, claim, 0.0))

    def _release(self, run: Run) -> None:
        self._given_back.add(run.claim.token)
        self._acker.put(run, Ack.release(run.claim))

    def stop(self, token: int, why: Stop) -> None:
        """Stop the run with this token, if it is here."""
        run = self._runs.get(token)
        if run is not None:
            run.stop(why)
        elif (waiting := self._ahead.pop(token, None)) is not None:
            waiting.stopped = why
            self._acker.put(waiting, _given_up(waiting))

    def stop_all(self) -> None:
        """Cancel what runs; it is given back."""
        self.give_back_ahead()
        for run in list(self._runs.values()):
            run.stop(Stop.SHUTDOWN)

    def answered(self, run: Run) -> None:
        """The store has answered this run's verdict."""
        self._runs.pop(run.claim.token, None)
        self._given_back.discard(run.claim.token)
        self._leases.drop(run)
        self._runner.answered(run)
        run.task = None  # whose context leads back to the run: it is to be freed at once, not by the garbage collector
        if self._suspect is not None and len(self._runs) == 1:
            self._alone.set()

    async def settled(self) -> None:
        """Return once everything has ended and been answered."""
        self.begin_taken()
        while tasks := [run.task for run in self._runs.values() if run.task is not None and not run.task.done()]:
            await asyncio.wait(tasks)
        for run in [run for run in self._runs.values() if not run.begun]:
            run.begun = True  # cancelled by somebody else before its first step: the whole loop is about to end
            self._ended(run, _given_up(run))
        await self._acker.settled()

    async def _run(self, run: Run) -> None:
        run.begun = True
        claim = run.claim
        try:
            if run is self._suspect:
                await self._until_alone(claim)
            task = self._known(claim) if run.stopped is None else None
            ack = _given_up(run) if task is None else await self._runner.run(run, task)
        except asyncio.CancelledError:
            ack = _given_up(run)
        except BaseException as error:
            logger.exception("%s %r could not be run", claim.function, claim.key)
            ack = Ack.fail(claim, f"could not be run: {type(error).__name__}", reason="internal")
        self._context.run(self._ended, run, ack)

    async def _until_alone(self, claim: Claim) -> None:
        """Wait until everything else here has ended, or has had a lease's time to: whatever a suspect does to the
        process then happens to nothing else."""
        self._alone.clear()
        lease = (claim.lease_until - claim.claimed_at) / SECOND
        with suppress(TimeoutError):
            async with asyncio.timeout(lease):
                while len(self._runs) > 1:
                    self._alone.clear()
                    await self._alone.wait()
                await self._acker.settled()

    def _known(self, claim: Claim) -> TaskFunction | None:
        """The function to run; None if it has been taken away since it was claimed."""
        try:
            return self._find(claim)
        except LookupError:
            logger.warning("%r is left for others: %s is not known here any more", claim.key, claim.function)
            return None

    def _ended(self, run: Run, ack: Ack) -> None:
        """Hand the verdict over, and let the next begin: the last act of a run, in the worker's context again."""
        self.busy -= 1
        self._pace.ended()
        if run is self._suspect:
            self._suspect = None
        self._acker.put(run, ack)
        if self._ahead:
            self._begin_next()
        self._freed()

    def _begin_next(self) -> None:
        while self._ahead and self.busy < self._slots:
            run = self._ahead.pop(next(iter(self._ahead)))
            if self._suspect is not None or run.confirmed_until <= time.monotonic():
                self.give_back(run.claim)  # nothing starts beside a suspect, nor under a lease that may be over
            else:
                self._seat(run)
        self.begin_taken()


def _given_up(run: Run) -> Ack:
    """The verdict on a run that was cancelled before it had one."""
    return Ack.cancel(run.claim, "cancelled") if run.stopped is Stop.CANCELLED else Ack.release(run.claim)
