"""Workers for as long as a test needs them, and ways to wait that fail loudly."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from docket_core import Docket, Worker

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds that nothing in these tests takes, however busy the machine is."""


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE) -> T:
    """The outcome of `awaitable`; TimeoutError if it does not come."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return once `condition` holds: for what no event tells of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def until_async(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """As `until`, for what only the store can tell."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(docket: Docket, **options: Any) -> AsyncGenerator[Worker, None]:
    """A worker that runs meanwhile; at the end it is told to stop, and has to."""
    async with Worker(docket, **options) as worker:
        running = asyncio.create_task(worker.run_forever())
        await asyncio.sleep(0)  # it has begun
        try:
            yield worker
        except BaseException:
            worker.stop()
            worker.stop()
            await asyncio.wait([running], timeout=PATIENCE)
            raise
        worker.stop()
        await within(asyncio.shield(running))


async def work_off(docket: Docket, **options: Any) -> None:
    """Run all that is on the docket."""
    async with Worker(docket, **options) as worker:
        await within(worker.run_until_finished())


class Signal:
    """Something that happens in a task and that a test waits for, or the other way round.

    It stands outside the task's arguments, so that it need not be serialisable.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def give(self) -> None:
        self._event.set()

    @property
    def given(self) -> bool:
        return self._event.is_set()

    async def seen(self, seconds: float = PATIENCE) -> None:
        await within(self._event.wait(), seconds)


SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=1)
"""A lease that is short enough to wait for, and long enough for a busy machine to renew."""
