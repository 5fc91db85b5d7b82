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


class Threads(ThreadPoolExecutor):
    """Threads for functions that are not async; a body that does not end does not hold up the worker's end."""

    def __init__(self, size: int) -> None:
        super().__init__(size, thread_name_prefix="docket task")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=False, cancel_futures=True)
