"""A task that is made ahead, while there is time: to wake one takes less than to make one."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Spare(Generic[Item]):
    """One asyncio task that waits for what it is to do.

    Args:
        work: what it does.
        context: what it does that in a copy of.
    """

    def __init__(self, work: Callable[[Item], Coroutine[Any, Any, None]], context: Context) -> None:
        self._work = work
        self._context = context
        self._task: asyncio.Task[None] | None = None
        self._item: asyncio.Future[Item] | None = None

    def prepare(self) -> None:
        """Make the task, unless one is waiting."""
        if self._task is None or self._is_ending(self._task):
            loop = asyncio.get_running_loop()
            self._item = loop.create_future()
            self._task = loop.create_task(self._run(self._item), context=self._context.copy())

    def use(self, item: Item) -> asyncio.Task[None] | None:
        """Let it do its work on `item`, from the next turn of the event loop; None if there is no task that waits."""
        waiting, self._item = self._item, None
        task, self._task = self._task, None
        if task is None or waiting is None or self._is_ending(task):
            return None
        waiting.set_result(item)
        return task

    def close(self) -> None:
        """End the task that waits."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._item = None

    @staticmethod
    def _is_ending(task: asyncio.Task[None]) -> bool:
        """Whether somebody else has cancelled it, which it may not have seen yet."""
        return task.done() or task.cancelling() > 0

    async def _run(self, item: asyncio.Future[Item]) -> None:
        await self._work(await item)
