"""The handle on one run of a task, for code that does not await."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from docket_core.execution import Execution
from docket_core.progress import ExecutionProgress
from docket_core.subscriptions import ProgressEvent, StateEvent
from docket_core.sync.loop_thread import LoopThread

if TYPE_CHECKING:
    from docket_core.docket import Docket

H = TypeVar("H")
V = TypeVar("V")
E = TypeVar("E", bound=StateEvent | ProgressEvent)


class _Handle(Generic[H]):
    """A handle of the async API, and the thread on which it is used."""

    def __init__(self, handle: H, docket: "Docket", thread: "LoopThread[Docket]") -> None:
        self.handle = handle
        self._docket = docket
        self._thread = thread

    def __repr__(self) -> str:
        return repr(self.handle)

    def _call(self, function: Callable[[], Awaitable[V]]) -> V:
        async def call(docket: "Docket") -> V:
            if docket is not self._docket:
                raise RuntimeError(f"{self!r} belongs to the process that forked this one; get_execution makes another")
            return await function()

        return self._thread.call(call)

    def _blocking(self, subscribe: Callable[[], AsyncGenerator[E, None]]) -> Generator[E, None, None]:
        events = subscribe()

        async def following() -> E | None:
            return await anext(events, None)

        try:
            while (event := self._call(following)) is not None:
                yield event
        finally:
            with suppress(RuntimeError):  # it is closed, and so is everything that was open on it
                self._call(events.aclose)


class _Shown(Generic[H, V]):
    """An attribute that is read from the handle of the async API."""

    def __init__(self, read: Callable[[H], V]) -> None:
        self._read = read

    @overload
    def __get__(self, instance: None, owner: type[_Handle[H]]) -> Self: ...

    @overload
    def __get__(self, instance: _Handle[H], owner: type[_Handle[H]]) -> V: ...

    def __get__(self, instance: _Handle[H] | None, owner: type[_Handle[H]]) -> V | Self:
        return self if instance is None else self._read(instance.handle)


def _of(read: Callable[[Execution], V]) -> _Shown[Execution, V]:
    return _Shown(read)


def _of_progress(read: Callable[[ExecutionProgress], V]) -> _Shown[ExecutionProgress, V]:
    return _Shown(read)


class SyncProgress(_Handle[ExecutionProgress]):
    """How far a run has come: `current`, `total`, `message` and `updated_at` as on `docket_core.ExecutionProgress`."""

    current = _of_progress(lambda progress: progress.current)
    total = _of_progress(lambda progress: progress.total)
    message = _of_progress(lambda progress: progress.message)
    updated_at = _of_progress(lambda progress: progress.updated_at)

    def sync(self) -> None:
        """Read the present progress from the store."""
        self._call(self.handle.sync)

    def subscribe(self) -> Generator[ProgressEvent, None, None]:
        """The present progress, then every change, to the end of the run; blocks until there is one."""
        return self._blocking(self.handle.subscribe)


class SyncExecution(_Handle[Execution]):
    """One run of a task, as `docket_core.Execution` with methods that block; `SyncDocket` makes it.

    Its attributes show what the handle knows; `sync` brings them up to date.
    """

    key = _of(lambda execution: execution.key)
    function = _of(lambda execution: execution.function)
    function_name = _of(lambda execution: execution.function_name)
    args = _of(lambda execution: execution.args)
    kwargs = _of(lambda execution: execution.kwargs)
    when = _of(lambda execution: execution.when)
    attempt = _of(lambda execution: execution.attempt)
    state = _of(lambda execution: execution.state)
    disposition = _of(lambda execution: execution.disposition)
    worker = _of(lambda execution: execution.worker)
    started_at = _of(lambda execution: execution.started_at)
    completed_at = _of(lambda execution: execution.completed_at)
    error = _of(lambda execution: execution.error)
    result_key = _of(lambda execution: execution.result_key)
    generation = _of(lambda execution: execution.generation)
    redelivered = _of(lambda execution: execution.redelivered)
    trace_context = _of(lambda execution: execution.trace_context)

    @property
    def progress(self) -> SyncProgress:
        """How far the run has come."""
        return SyncProgress(self.handle.progress, self._docket, self._thread)

    def get_argument(self, name: str) -> Any:
        """As `docket_core.Execution.get_argument`."""
        return self.handle.get_argument(name)

    def call_repr(self) -> str:
        """The call as text in which only arguments annotated with `Logged` are shown."""
        return self.handle.call_repr()

    def get_result(self, *, timeout: timedelta | None = None, deadline: datetime | None = None) -> Any:
        """Wait for the end of this run, and return what the task returned.

        Arguments and errors are those of `docket_core.Execution.get_result`.
        """
        return self._call(lambda: self.handle.get_result(timeout=timeout, deadline=deadline))

    def sync(self) -> None:
        """Bring state, times, error and progress of this handle up to date with the store."""
        self._call(self.handle.sync)

    def subscribe(self) -> Generator[StateEvent | ProgressEvent, None, None]:
        """The present state and progress, then live events, to the end of this run; blocks until there is one.

        Once the first event has come, the subscription is live. Close the generator to leave early.
        """
        return self._blocking(self.handle.subscribe)

    def is_superseded(self) -> bool:
        """Whether another run has taken this one's key."""
        return self._call(self.handle.is_superseded)
