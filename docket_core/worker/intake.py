"""Takes tasks off the docket: as many as there are free slots, and waits where there is nothing."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from docket_core import instrumentation
from docket_core.backend.clock import SECOND
from docket_core.backend.kit import backoff, sleep
from docket_core.backend.model import Claimed
from docket_core.backend.states import State
from docket_core.errors import BackendUnavailable, Overloaded

if TYPE_CHECKING:
    from docket_core.worker.worker import Worker

logger = logging.getLogger("docket_core.worker")


class Intake:
    """The loop of claim, start, wait. A claim under way is always awaited, and what it brought is not lost."""

    def __init__(self, worker: "Worker", until_finished: bool) -> None:
        self._worker = worker
        self._until_finished = until_finished
        self._stopping = False
        self._nudged = asyncio.Event()
        self._wait: asyncio.Task[None] | None = None
        self._claim: asyncio.Task[Claimed] | None = None
        self.last_success = time.monotonic()
        """When a claim last went through, or there was no room for one, by the monotonic clock."""

    @property
    def stopping(self) -> bool:
        """Whether it was told to claim no more."""
        return self._stopping

    def stop(self) -> None:
        """Claim no more."""
        self._stopping = True
        self.nudge()

    def nudge(self) -> None:
        """Look again: a slot is free, or a run has ended."""
        self._nudged.set()
        if self._wait is not None and (self._stopping or self._until_finished):
            self._wait.cancel()

    async def run(self) -> None:
        """Claim until stopped, or until there is nothing left to do."""
        failures = 0
        while not self._stopping:
            room = self._worker.room()
            if room <= 0:
                self.last_success = time.monotonic()
                await self._until_nudged()
                continue
            began = time.monotonic()
            try:
                claimed = await self._claim_some(room)
            except (BackendUnavailable, Overloaded) as error:
                failures += 1
                await self._pause(failures, error)
                continue
            failures = 0
            self.last_success = time.monotonic()
            self._nudged.clear()
            self._start(claimed, began)
            if len(claimed.claims) >= room:
                continue
            if self._until_finished and claimed.next_at is None and not claimed.claims:
                if self._worker.is_idle():
                    return
                await self._until_nudged()
            elif not self._stopping:
                await self._wait_for_work(claimed)

    async def late_claims(self) -> Claimed | None:
        """What a claim brought whose caller was cancelled meanwhile."""
        claim, self._claim = self._claim, None
        if claim is None:
            return None
        with suppress(BackendUnavailable, Overloaded):
            return await claim
        return None

    async def _claim_some(self, room: int) -> Claimed:
        worker = self._worker
        backend = worker.docket.backend
        self._claim = asyncio.ensure_future(
            backend.claim(worker.name, worker.claimable(), room, worker.lease, worker.max_deliveries)
        )
        claimed = await asyncio.shield(self._claim)
        self._claim = None
        return claimed

    def _start(self, claimed: Claimed, began: float) -> None:
        worker = self._worker
        confirmed_until = began + worker.lease / SECOND
        for claim in claimed.claims:
            worker.begin(claim, confirmed_until)
        for ended in claimed.ended:
            if ended.state is State.FAILED:
                logger.error("%s %r was given up: %s", ended.function, ended.key, ended.reason)
                labels = {"docket.name": worker.docket.name, "docket.task": ended.function}
                instrumentation.TASKS_FAILED.add(1, labels)

    async def _wait_for_work(self, claimed: Claimed) -> None:
        if self._until_finished and self._nudged.is_set():
            return
        worker = self._worker
        self._wait = asyncio.ensure_future(
            worker.docket.backend.wait(worker.claimable(), claimed.mark, claimed.next_at)
        )
        try:
            await asyncio.wait([self._wait])
            if not self._wait.cancelled() and (error := self._wait.exception()) is not None:
                if not isinstance(error, BackendUnavailable | Overloaded):
                    raise error
                await self._pause(1, error)
        finally:
            self._wait.cancel()
            self._wait = None

    async def _until_nudged(self) -> None:
        if not self._stopping:
            await self._nudged.wait()
            self._nudged.clear()

    async def _pause(self, failures: int, error: Exception) -> None:
        if failures == 1:
            logger.warning("the store cannot be claimed from, will try again: %s", error)
        worker = self._worker
        self._wait = asyncio.ensure_future(sleep(worker.clock, backoff(failures, SECOND // 20, worker.longest_pause)))
        try:
            await asyncio.wait([self._wait])
        finally:
            self._wait.cancel()
            self._wait = None
