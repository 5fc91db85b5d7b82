"""A thread that works through jobs, and hands their outcomes back to the event loop."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from docket_core.errors import BackendUnavailable

Context = TypeVar("Context")
_Result = TypeVar("_Result")


class Job(NamedTuple):
    """Something to do in the thread, and who waits for it."""

    work: Callable[[Any], Any]
    future: "asyncio.Future[Any]"
    synced: bool = True
    """Whether what it writes must be on the disk before it is answered, where the file is kept so."""


class Outcome(NamedTuple):
    """How a job ended."""

    future: "asyncio.Future[Any]"
    result: object
    error: BaseException | None


class Lane(Generic[Context]):
    """One thread for one event loop.

    What has been submitted is done, whether its caller still waits or not. Jobs that wait together are handed to
    `run` together.
    """

    MOST_TOGETHER = 64

    def __init__(
        self,
        name: str,
        run: Callable[[list[Job]], list[Outcome]],
        close: Callable[[], None],
        deliver: Callable[[list[Outcome]], None],
    ) -> None:
        self._run = run
        self._close = close
        self._deliver = deliver
        """Runs on the event loop; `resolve`, and what else is to be done there."""
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._ended = self._loop.create_future()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Context], _Result], *, synced: bool = True) -> "asyncio.Future[_Result]":
        """Have `work` done in the thread; its outcome comes by the future.

        Raises:
            BackendUnavailable: the lane is closed.
        """
        if self._closing:
            raise BackendUnavailable("this backend is closed")
        future: asyncio.Future[_Result] = self._loop.create_future()
        self._jobs.put(Job(work, future, synced))
        return future

    async def close(self) -> None:
        """Finish what was submitted, then end the thread and what it owns."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()  # it has nothing left to do but to return

    def _work(self) -> None:
        try:
            going = True
            while going:
                jobs, going = self._gather()
                if jobs:
                    self._call(self._deliver, self._run(jobs))
        finally:
            self._close()
            self._call(self._end)

    def _gather(self) -> tuple[list[Job], bool]:
        """The jobs that wait now, at least one; False with the last ones."""
        jobs: list[Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) >= self.MOST_TOGETHER:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed before the backend: nobody is left to tell
            return

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def resolve(outcomes: list[Outcome]) -> None:
    """Tell those who wait how their jobs ended."""
    for future, result, error in outcomes:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
