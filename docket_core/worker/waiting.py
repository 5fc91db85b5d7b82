"""Waiting that has an end, and threads that nobody waits for."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any


async def unless(event: asyncio.Event | None, work: Coroutine[Any, Any, None], seconds: float | None = None) -> None:
    """Await `work`, but only until `event` is set or so many seconds are over; then it is cancelled."""
    waited_for = [asyncio.ensure_future(work)]
    if event is not None:
        waited_for.append(asyncio.ensure_future(_set(event)))
    try:
        await asyncio.wait(waited_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if waited_for[0].done():
            waited_for[0].result()
    finally:
        for task in waited_for:
            task.cancel()


async def _set(event: asyncio.Event) -> None:
    await event.wait()


class Interruptible:
    """`with`: a part of a task that can be ended early from outside, which then goes on after it.

    What `asyncio.timeout` does at a moment, this does when it is told to. It also goes on where what is awaited in it
    is cancelled without its task.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._cancelling = 0

    @property
    def begun(self) -> bool:
        """Whether a task is in it."""
        return self._task is not None

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end, and its task, which counts as cancelled until then, has not gone on yet."""
        return self._task is not None and self._interrupted

    def interrupt(self) -> None:
        """End it, if a task is in it."""
        if self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._interrupted = False
        self._cancelling = self._task.cancelling() if self._task is not None else 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        if task is None:
            return False
        cancelled = task.uncancel() if self._interrupted else task.cancelling()
        return cancelled <= self._cancelling and isinstance(error, asyncio.CancelledError)


class Threads(ThreadPoolExecutor):
    """Threads for functions that are not async; a body that does not end does not hold up the worker's end."""

    def __init__(self, size: int) -> None:
        super().__init__(size, thread_name_prefix="docket task")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=False, cancel_futures=True)
