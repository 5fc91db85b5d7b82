"""Keeps the leases of what this worker holds, on a thread and a connection of its own.

So a body that blocks the event loop does not lose its lease. With a clock that is not the system's (in tests)
it runs on the worker's own loop instead, since such a clock belongs to one loop.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from docket_core.backend.clock import SECOND, SYSTEM_CLOCK, Clock, Micros, background, guarding
from docket_core.backend.kit import sleep
from docket_core.backend.model import Renewal
from docket_core.backend.protocol import Backend
from docket_core.errors import BackendError
from docket_core.worker.run import Run, Stop

logger = logging.getLogger("docket_core.worker")

BATCH = 500
LONGEST_INTERVAL: Micros = 2 * SECOND
"""A cancel that was requested is seen at the next renewal, so renewals are never further apart."""


class LeaseKeeper:
    """Renews leases every third of their length, at most 2 s, and stops the runs whose lease is lost.

    Args:
        open_backend: makes the connection, when it is first needed.
        clock: the worker's clock.
        lease: how long a lease is, in microseconds.
        stop: called on the worker's loop for a run that must stop.
    """

    def __init__(
        self, open_backend: Callable[[], Backend], clock: Clock, lease: Micros, stop: Callable[[Run, Stop], None]
    ) -> None:
        self._open_backend = open_backend
        self._clock = clock
        self._lease = lease
        self._stop = stop
        self._interval = min(lease // 3, LONGEST_INTERVAL)
        self._runs: dict[int, Run] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._thread_loop: asyncio.AbstractEventLoop | None = None
        self._thread_began = threading.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep leases."""
        self._loop = asyncio.get_running_loop()
        if self._clock is SYSTEM_CLOCK:
            self._thread = threading.Thread(target=self._run_thread, name="docket leases", daemon=True)
            self._thread.start()
        else:
            self._task = asyncio.create_task(self._keep(), name="docket leases")

    async def close(self) -> None:
        """Stop; what is still held runs out."""
        self._runs.clear()
        if self._task is not None and self._thread is None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._join, self._thread)

    def hold(self, run: Run) -> None:
        """Keep this run's lease from now on."""
        self._runs[run.claim.token] = run

    def drop(self, run: Run) -> None:
        """Keep it no longer."""
        self._runs.pop(run.claim.token, None)

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            logger.exception("leases are not kept any more: the thread that renews them has ended")

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        self._thread_loop = asyncio.get_running_loop()
        self._thread_began.set()
        with suppress(asyncio.CancelledError):
            await self._keep()

    def _join(self, thread: threading.Thread) -> None:
        """End the thread; called on another one."""
        self._thread_began.wait(1)
        if self._thread_loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._thread_loop.call_soon_threadsafe(self._end_thread)
        thread.join(5)

    def _end_thread(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _keep(self) -> None:
        while True:
            try:
                await self._until_needed()
                async with self._open_backend() as backend:
                    while True:
                        await self._renew_all(backend)
                        await self._sleep()
            except BackendError as error:
                logger.warning("leases cannot be renewed, will try again: %s", error)
                self._stop_unconfirmed()
                await sleep(self._clock, min(self._interval, SECOND // 2))

    async def _until_needed(self) -> None:
        """Return once there is a lease to keep; a task that ends soon needs none of this."""
        while not self._runs:
            await self._sleep()

    async def _sleep(self) -> None:
        """Until it is time to renew. A clock that moves by itself must not pass a renewal over, but need not move for it."""
        background.set(not self._runs)
        guarding.set(bool(self._runs))
        await sleep(self._clock, self._interval)

    async def _renew_all(self, backend: Backend) -> None:
        runs = list(self._runs.values())
        for start in range(0, len(runs), BATCH):
            portion = runs[start : start + BATCH]
            asked = time.monotonic()
            try:
                replies = await backend.renew([run.claim for run in portion], self._lease)
            finally:
                self._stop_unconfirmed()
            for run, reply in zip(portion, replies, strict=True):
                if reply is Renewal.LOST:
                    if run.claim.token in self._runs:
                        self._tell(run, Stop.LOST)
                    continue
                run.confirmed_until = asked + self._lease / SECOND
                if reply is Renewal.CANCEL:
                    self._tell(run, Stop.CANCELLED)

    def _stop_unconfirmed(self) -> None:
        """Stop the runs whose lease may have ended, since no renewal came through."""
        if self._clock is not SYSTEM_CLOCK:
            return
        now = time.monotonic()
        for run in list(self._runs.values()):
            if run.confirmed_until <= now:
                self._tell(run, Stop.LOST)

    def _tell(self, run: Run, why: Stop) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stop, run, why)
