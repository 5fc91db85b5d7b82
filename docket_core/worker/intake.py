"""Takes tasks off the docket: as many as there are slots for within a moment, and waits where there is nothing."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from docket_core import instrumentation
from docket_core.backend.clock import SECOND, Micros
from docket_core.backend.finishing import Finishing
from docket_core.backend.kit import MAX_WAIT, backoff, sleep
from docket_core.backend.model import Claim, Claimed, Ended
from docket_core.backend.states import State
from docket_core.errors import BackendError
from docket_core.logs import get_logger
from docket_core.worker.waiting import Interruptible

if TYPE_CHECKING:
    from docket_core.worker.worker import Worker

logger = get_logger("docket_core.worker")

BATCH = 100
"""The most tasks in one call: a store with one thread answers nobody else meanwhile."""
LATE = 0.25
"""How long the end of a worker waits for a claim that is under way, in seconds."""


class Intake:
    """The loop of claim, start, wait. A claim under way is always awaited, and what it brought is not lost."""

    def __init__(self, worker: "Worker", until_finished: bool) -> None:
        self._worker = worker
        self._until_finished = until_finished
        self._backend = worker.backend
        self.stopping = False
        """Whether it was told to claim no more."""
        self.stopped = asyncio.Event()
        """Set at that moment."""
        self._nudged = asyncio.Event()
        self._full = False
        self._waiting = Interruptible()
        self._claiming = Interruptible()
        self._asked: frozenset[str] | None = None
        """The functions that the latest claim was for."""
        self._left: asyncio.Task[Claimed] | None = None
        """A claim under way that is not waited for any more."""
        self.claimed = asyncio.Event()
        """Set once a claim has gone through."""
        self._taken = False
        """Whether something was handed over during the latest wait."""
        self._taken_at: Micros = 0
        """When that was, by the store's time."""
        self._last_success = 0.0

    def could_claim(self, seconds: float) -> bool:
        """Whether a claim has gone through within so many seconds, or every slot has been taken since."""
        lately = self._full or time.monotonic() - self._last_success < seconds
        return self.claimed.is_set() and lately

    @property
    def interruptions(self) -> int:
        """How many of the worker's cancellations are this one's own, and are taken back in its next turn."""
        return self._waiting.is_ending + self._claiming.is_ending

    def stop(self) -> None:
        """Claim no more. A claim under way is waited for, but not for ever: the store may be away."""
        self.stopping = True
        self.stopped.set()
        if self._claiming.begun:
            asyncio.get_running_loop().call_later(LATE, self._claiming.interrupt)
        self.nudge()

    def nudge(self) -> None:
        """Look again: a slot is free, or a run has ended."""
        self._nudged.set()
        if self.stopping or self._until_finished:
            self._waiting.interrupt()

    async def run(self) -> None:
        """Claim until stopped, or until there is nothing left to do."""
        watchers = self._worker.docket.functions.watchers
        watchers.add(self._look_again)
        try:
            await self._run()
        finally:
            watchers.discard(self._look_again)

    def _look_again(self) -> None:
        """What is waited for has changed: a function has become known."""
        self._waiting.interrupt()

    async def _run(self) -> None:
        failures = 0
        while not self.stopping:
            room = min(self._worker.room(), BATCH)
            if room <= 0:
                self._full = self._worker.is_full()
                await self._until_nudged()
                self._full = False
                continue
            began = time.monotonic()
            self._nudged.clear()
            try:
                claimed = await self._claim_some(room)
            except BackendError as error:  # whatever stands in the way of a claim: it may be put right
                failures += 1
                await self._pause(failures, error)
                continue
            if claimed is None:
                return
            failures = 0
            self._last_success = time.monotonic()
            self.claimed.set()
            self._start(claimed.claims, claimed.now, began)
            self._note(claimed.ended)
            if len(claimed.claims) >= room:
                self._worker.begin_soon()
                continue  # the next claim is on its way to the store before these begin
            await self._worker.begun()
            if self._until_finished and claimed.next_at is None and not claimed.claims:
                if self._worker.is_idle():
                    return
                await self._until_nudged()
            else:
                await self._wait_for_work(claimed)

    async def late_claims(self) -> Claimed | None:
        """What a claim brought whose caller was cancelled meanwhile; a store that does not answer brings nothing."""
        if self._left is None:
            return None
        with suppress(BackendError, TimeoutError):
            claimed = await asyncio.wait_for(asyncio.shield(self._left), LATE)
            self._left = None
            return claimed
        return None

    async def _claim_some(self, room: int) -> Claimed | None:
        """What could be claimed; None if this was told to stop and the store has not answered for a while."""
        worker = self._worker
        self._asked = functions = worker.claimable()
        claiming = self._backend.claim(worker.name, functions, room, worker.lease, worker.max_deliveries)
        with self._claiming:
            return await Finishing(claiming, self._leave)
        return None

    def _leave(self, claiming: "asyncio.Task[Claimed]") -> None:
        self._left = claiming

    def _start(self, claims: Sequence[Claim], now: Micros, began: float) -> None:
        for claim in claims:
            self._worker.begin(claim, began + (claim.lease_until - now) / SECOND)

    def _take(self, claims: Sequence[Claim], now: Micros) -> None:
        """Begin what was handed over; where the event loop was held up for half its lease, it goes back."""
        worker = self._worker
        self._taken, self._taken_at = True, now
        self._last_success = seen = time.monotonic()
        for claim in claims:
            left = claim.lease_until - now
            if self.stopping or left * 2 <= worker.lease:
                worker.give_back(claim)
            else:
                worker.begin(claim, seen + left / SECOND)
        worker.begin_now()

    def _note(self, all_ended: Sequence[Ended]) -> None:
        for ended in all_ended:
            if ended.state is State.FAILED:
                logger.error("%s %r was given up: %s", ended.function, ended.key, ended.reason)
                labels = {"docket.name": self._worker.docket.name, "docket.task": ended.function}
                instrumentation.TASKS_FAILED.add(1, labels)

    async def _wait_for_work(self, claimed: Claimed) -> None:
        """Sleep until a claim may bring something. What is handed over meanwhile begins, and is slept on; but a claim
        follows within two seconds, as only that finds what somebody's lapsed lease has left."""
        worker = self._worker
        while not self.stopping:
            functions, self._taken = worker.claimable(), False
            if functions is not self._asked or (self._until_finished and self._nudged.is_set()):
                return
            worker.prepare()
            try:
                with self._waiting:
                    await self._backend.wait(functions, claimed.mark, claimed.next_at, self._take)
            except BackendError as error:
                await self._pause(1, error)
            if not self._taken or self._taken_at - claimed.now >= MAX_WAIT or self._until_finished:
                return
            if worker.room() <= 0:
                return

    async def _until_nudged(self) -> None:
        if not self.stopping:
            await self._nudged.wait()
            self._nudged.clear()

    async def _pause(self, failures: int, error: Exception) -> None:
        if failures == 1:
            logger.warning("the store cannot be claimed from, will try again: %s", error)
        if self.stopping:
            return
        with self._waiting:
            await sleep(self._worker.clock, backoff(failures, SECOND // 20, self._worker.longest_pause))
