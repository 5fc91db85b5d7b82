"""Keeps the leases of what this worker holds, on a thread and a connection of its own.

So a body that blocks the event loop does not lose its lease. With a clock that is not the system's (in tests)
it runs on the worker's own loop instead, since such a clock belongs to one loop.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from docket_core.backend.clock import SECOND, SYSTEM_CLOCK, Clock, Micros, guarding
from docket_core.backend.kit import sleep
from docket_core.backend.model import Renewal
from docket_core.backend.protocol import Backend
from docket_core.errors import BackendError, BackendUnavailable
from docket_core.logs import get_logger
from docket_core.worker.run import Run, Stop

logger = get_logger("docket_core.worker")

BATCH = 500
LONGEST_INTERVAL: Micros = 2 * SECOND
"""A cancel that was requested is seen at the next renewal, so renewals are never further apart."""
CLOSING = 0.1
"""How long the end of the thread is waited for, in seconds."""


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
        self._ended = asyncio.Event()
        self._needed = asyncio.Event()
        """There is something to keep; not looked at on the thread, which looks by itself."""
        self._closing = False
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
        self._closing = True
        if self._thread is None:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task], timeout=CLOSING)
            return
        if self._thread_loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._thread_loop.call_soon_threadsafe(self._end_thread)
        with suppress(TimeoutError):  # a store that does not answer holds the thread up, but not the worker
            async with asyncio.timeout(CLOSING):
                await self._ended.wait()
                self._thread.join()

    def hold(self, run: Run) -> None:
        """Keep this run's lease from now on."""
        self._runs[run.claim.token] = run
        if self._thread is None:
            self._needed.set()

    def drop(self, run: Run) -> None:
        """Keep it no longer."""
        self._runs.pop(run.claim.token, None)

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception:
            logger.exception("leases are not kept any more: the thread that renews them has ended")
        finally:
            self._on_loop(self._ended.set)

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        self._thread_loop = asyncio.get_running_loop()
        if not self._closing:
            with suppress(asyncio.CancelledError):
                await self._keep()

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
            except Exception as error:
                unknown = None if isinstance(error, BackendError) else error
                logger.warning("leases cannot be renewed, will try again: %s", error, exc_info=unknown)
                self._stop_unconfirmed()
                await sleep(self._clock, min(self._interval, SECOND // 2))

    async def _until_needed(self) -> None:
        """Return once there is a lease to keep; a task that ends soon needs none of this."""
        while not self._runs:
            await self._sleep()

    async def _sleep(self) -> None:
        """Until it is time to renew. A clock that moves by itself stops for that, but does not move for it."""
        if self._thread is None:
            guarding.set(True)
            while not self._runs:
                self._needed.clear()
                await self._needed.wait()
        await sleep(self._clock, self._interval)

    async def _renew_all(self, backend: Backend) -> None:
        runs = list(self._runs.values())
        for start in range(0, len(runs), BATCH):
            portion = runs[start : start + BATCH]
            asked = time.monotonic()
            try:
                async with asyncio.timeout(self._time_left(portion)):
                    replies = await backend.renew([run.claim for run in portion], self._lease)
            except TimeoutError as error:
                raise BackendUnavailable("the store has not answered before the first of the leases ended") from error
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

    def _time_left(self, runs: list[Run]) -> float | None:
        """Seconds until the first of the leases ends that may still hold; None if time is not the system's."""
        if self._clock is not SYSTEM_CLOCK:
            return None
        now = time.monotonic()
        left = [run.confirmed_until - now for run in runs if run.confirmed_until > now]
        return min(left, default=self._lease / SECOND)

    def _stop_unconfirmed(self) -> None:
        """Stop the runs whose lease may have ended, since no renewal came through."""
        if self._clock is not SYSTEM_CLOCK:
            return
        now = time.monotonic()
        for run in list(self._runs.values()):
            if run.confirmed_until <= now:
                self._tell(run, Stop.LOST)

    def _tell(self, run: Run, why: Stop) -> None:
        self._on_loop(self._stop, run, why)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(call, *arguments)
