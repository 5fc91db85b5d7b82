"""Calls that go on though whoever waits for them is cancelled, at the price of a plain await where nobody is."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")
_Waited = asyncio.Future[Any] | None
"""What a coroutine waits for; None: for its next turn."""


class Finishing(Generic[Result]):
    """`await Finishing(work, left)` is `await work`, but a caller who is cancelled meanwhile does not cancel the work:
    it goes on in a task of its own.

    `asyncio.shield` promises as much, for the price of a task and three turns of the event loop at each call. Here the
    work runs in the caller's task, so it must not depend on which task that is: no `asyncio.timeout` in it, no
    `TaskGroup`.

    Args:
        work: what is to be done.
        left: told of the task that does the rest, where a caller was cancelled.
    """

    def __init__(self, work: Coroutine[Any, Any, Result], left: Callable[["asyncio.Task[Result]"], object]) -> None:
        self._work = work
        self._left = left

    def __await__(self) -> Generator[Any, None, Result]:
        steps = self._work.__await__()
        try:
            waited: _Waited = next(steps)
            while True:
                try:
                    yield None if waited is None else _Kept(waited)
                except GeneratorExit:
                    self._work.close()
                    raise
                except BaseException as error:
                    if not _is_outcome(waited, error):
                        self._left(asyncio.get_running_loop().create_task(_rest(steps, waited)))
                        raise
                    waited = steps.throw(error)
                else:
                    waited = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


class _Kept:
    """Stands for a future that a task waits for, and keeps the task's cancellation away from it.

    What a task asks of a future: `_asyncio_future_blocking`, `get_loop`, `add_done_callback` and `cancel`, as asyncio's
    own futures and those of other event loops have them; and what another one of these around it asks.
    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_future", "_is_woken", "_wake")

    def __init__(self, future: "asyncio.Future[Any]") -> None:
        future._asyncio_future_blocking = False  # its own task is asked to wait for this instead
        self._asyncio_future_blocking = True
        self._future = future
        self._is_woken = False
        """By a cancellation: it wakes once, as a future does."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._future.get_loop()

    def add_done_callback(self, wake: Callable[["asyncio.Future[Any]"], object], *, context: Any = None) -> None:
        self._wake, self._context = wake, context
        self._is_woken = False
        self._future.add_done_callback(wake, context=context)

    def remove_done_callback(self, wake: Callable[["asyncio.Future[Any]"], object]) -> int:
        return self._future.remove_done_callback(wake)

    def done(self) -> bool:
        return self._future.done()

    def cancelled(self) -> bool:
        return self._future.cancelled()

    def exception(self) -> BaseException | None:
        return self._future.exception()

    def cancel(self, msg: object = None) -> bool:
        """Wake the task with a cancellation; the future itself stays as it is."""
        if self._is_woken or self._future.done():
            return False
        self._is_woken = True
        self._future.remove_done_callback(self._wake)
        cancelled = self.get_loop().create_future()
        cancelled.add_done_callback(self._wake, context=self._context)
        return cancelled.cancel(msg)


def _is_outcome(waited: _Waited, error: BaseException) -> bool:
    """Whether `error` is what has become of `waited`, and not something that was meant for the caller."""
    if waited is None or not waited.done():
        return False
    return waited.cancelled() or waited.exception() is error


async def _rest(steps: Generator[Any, None, Result], waited: _Waited) -> Result:
    return await _Resumed(steps, waited)


class _Resumed(Generic[Result]):
    """Goes on with a coroutine that has got as far as waiting for `waited`."""

    def __init__(self, steps: Generator[Any, None, Result], waited: _Waited) -> None:
        self._steps = steps
        self._waited = waited

    def __await__(self) -> Generator[Any, None, Result]:
        steps, waited = self._steps, self._waited
        if waited is not None:
            waited._asyncio_future_blocking = True  # a task is asked to wait for it again
        try:
            while True:
                try:
                    yield waited
                except BaseException as error:  # noqa: BLE001 - it is for the coroutine to say what becomes of it
                    waited = steps.throw(error)
                else:
                    waited = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
