"""An event loop on a thread of its own, for callers who have none."""

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
LEAVING = 2.0
"""How long the end of a program waits for the thread to close what it holds, in seconds: a store may not answer."""


class LoopThread(Generic[T]):
    """Keeps one thing open on a thread with an event loop, and calls it from any other thread.

    The thread starts with the first call, and the end of the program closes it. A fork finds it closed if no call is
    under way, so that nothing of the store is inherited (SQLite forbids that); the next call opens it again, in the
    parent as in the child. What cannot be closed then is neither used nor closed in the child.

    Args:
        opened: makes what is to be kept open; called once for every thread that is started.
        name: the thread's.
        rests: whether what is open may be closed and opened again, unnoticed.
    """

    def __init__(
        self, opened: Callable[[], AbstractAsyncContextManager[T]], name: str, rests: Callable[[T], bool]
    ) -> None:
        self._opened = opened
        self._name = name
        self._rests = rests
        self._lock = threading.Lock()
        self._living: _Living[T] | None = None
        self._closed = False
        _ALL.add(self)

    def start(self) -> "_Living[T]":
        """Open it, unless it is open.

        Raises:
            RuntimeError: it was closed, or this thread runs an event loop itself.
            Exception: what the opening raised; the next call tries again.
        """
        refuse_in_event_loop()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._name} is closed; make another one for another use")
            if self._living is None or self._living.ended:
                living = _Living(self._opened, self._name)
                try:
                    living.begun.result()
                except BaseException:  # an interrupt while it was waited for, too
                    living.stop()
                    raise
                self._living = living
            return self._living

    def call(self, function: Callable[[T], Awaitable[R]]) -> R:
        """What `await function(thing)` answers on the thread; the caller waits for it.

        An exception in the waiting thread, such as KeyboardInterrupt, cancels the call.

        Raises:
            RuntimeError: as `start`, or it was closed meanwhile.
            Exception: what the call raised.
        """
        living = self._living
        if living is None or living.ended:
            living = self.start()
        else:
            refuse_in_event_loop()
        return living.call(function)

    def close(self, timeout: float | None = None) -> None:
        """Close it for good, and wait for the end of the thread for at most `timeout` seconds."""
        with self._lock:
            self._closed = True
            living, self._living = self._living, None
        if living is not None:
            living.stop()
            living.join(timeout)

    def before_fork(self) -> None:
        """Close what is open, unless a call is under way; the next call opens it again."""
        if not self._lock.acquire(timeout=LEAVING):
            return
        try:
            living = self._living
            if living is not None and living.is_idle() and self._rests(living.thing):
                self._living = None
                living.stop()
                living.join(LEAVING)
        finally:
            self._lock.release()

    def after_fork(self) -> None:
        """This is a child, and the thread is the parent's: leave it alone, and start anew when needed."""
        self._lock = threading.Lock()
        if self._living is not None:
            _LEFT_TO_PARENTS.append(self._living)
            self._living = None


def refuse_in_event_loop() -> None:
    """Refuse to block a thread that runs an event loop.

    Raises:
        RuntimeError: it says what to use instead.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "this thread runs an event loop, which a blocking call would stop: "
        "use docket_core.Docket there and await its methods"
    )


class _Living(Generic[T]):
    """One thread, from its start to its end."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[T]], name: str) -> None:
        self.begun: Future[None] = Future()
        """Done once it is open; its exception says why it could not be opened."""
        self.ended = False
        self._name = name
        self._opened = opened
        self._stopping = False
        self._lock = threading.Lock()
        self._calls: set[_Call[Any]] = set()
        self.thing: T
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[T], Awaitable[R]]) -> R:
        call = _Call(lambda: function(self.thing), self._loop)
        try:
            self._begin(call)
            return call.answer.result()
        except CancelledError:
            raise RuntimeError(f"{self._name} was closed while a call was waiting") from None
        except BaseException:  # an interrupt comes anywhere, before the wait too
            call.cancel()
            raise
        finally:
            with self._lock:
                self._calls.discard(call)

    def _begin(self, call: "_Call[Any]") -> None:
        with self._lock:
            if self.ended:
                raise RuntimeError(f"{self._name} is closed")
            self._calls.add(call)
            self._loop.call_soon_threadsafe(call.begin)  # in the caller's context: spans go along

    def is_idle(self) -> bool:
        """Whether it is open and nobody waits for it."""
        return self.begun.done() and not self.ended and not self._calls

    def stop(self) -> None:
        """Tell the thread to close and end."""
        with self._lock:
            self._stopping = True
            if not self.ended and self.begun.done():
                self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, timeout: float | None) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if self.begun.done():
                raise  # could not be closed in good order: the thread's end shows it
            self._end()
            self.begun.set_exception(error)
        finally:
            self._end()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with self._opened() as self.thing:
            with self._lock:
                self.begun.set_result(None)
                stopping = self._stopping
            if not stopping:
                await self._stop.wait()

    def _end(self) -> None:
        """Nobody waits for a loop that does not turn any more."""
        with self._lock:
            self.ended = True
            calls = list(self._calls)
        for call in calls:
            call.answer.cancel()


class _Call(Generic[R]):
    """One call, from the thread that waits to the task that works."""

    def __init__(self, function: Callable[[], Awaitable[R]], loop: asyncio.AbstractEventLoop) -> None:
        self.answer: Future[R] = Future()
        self._function = function
        self._loop = loop
        self._task: asyncio.Task[R] | None = None

    def begin(self) -> None:
        """Start the work; called on the loop."""
        if not self.answer.cancelled():
            self._task = self._loop.create_task(self._work())
            self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Nobody waits any more; called where it was waited for."""
        self.answer.cancel()
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._cancel_task)

    async def _work(self) -> R:
        return await self._function()

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[R]) -> None:
        error = None if task.cancelled() else task.exception()
        if not self.answer.set_running_or_notify_cancel():
            return
        if task.cancelled():
            self.answer.set_exception(CancelledError())
        elif error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())


_ALL: weakref.WeakSet[LoopThread[Any]] = weakref.WeakSet()
_LEFT_TO_PARENTS: list[_Living[Any]] = []
"""What belongs to a parent's threads: kept, since its destructors would disturb the parent's sockets and loop."""


def _before_fork() -> None:
    for thread in list(_ALL):
        thread.before_fork()


def _after_fork() -> None:
    for thread in list(_ALL):
        thread.after_fork()


def _at_exit() -> None:
    for thread in list(_ALL):
        thread.close(LEAVING)


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
