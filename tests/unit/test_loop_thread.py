"""Calls from a thread to the loop on another one."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType

import pytest

from docket_core.sync.loop_thread import LoopThread
from tests.support.workers import PATIENCE


@asynccontextmanager
async def opened() -> AsyncGenerator[int, None]:
    yield 1


async def others_than_these(_: int) -> int:
    """How many tasks the loop has besides its first one and this call."""
    return len(asyncio.all_tasks()) - 2


class InterruptedLock:
    """Ctrl-C, the moment it has been given back for the first time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 1

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if self._left:
            self._left -= 1
            raise KeyboardInterrupt


def test_an_interrupt_between_the_start_of_a_call_and_the_wait_for_it_cancels_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread = LoopThread(opened, "calls", lambda _: True)
    begun, ended = threading.Event(), threading.Event()

    async def work(_: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    try:
        monkeypatch.setattr(thread.start(), "_lock", InterruptedLock())
        with pytest.raises(KeyboardInterrupt):
            thread.call(work)
        assert thread.call(others_than_these) == 0 or ended.wait(PATIENCE)
        assert ended.is_set() == begun.is_set()
    finally:
        thread.close()
