"""The docket for code that does not await."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from docket_core.adding import TaskCall
from docket_core.backend.clock import Clock
from docket_core.backend.model import CancelReply
from docket_core.codec import Codec
from docket_core.docket import Docket
from docket_core.execution import Execution
from docket_core.functions import AnyFunction
from docket_core.results import KeyValueStore
from docket_core.snapshot import DocketSnapshot, WorkerInfo
from docket_core.strikes import Operator
from docket_core.sync.execution import SyncExecution
from docket_core.sync.loop_thread import LoopThread

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=AnyFunction)


class SyncDocket:
    """`docket_core.Docket` for code without an event loop: every method blocks until it is done.

    `SyncDocket("orders").add(send, when=timedelta(minutes=5))("ann@example.com").get_result()`

    One thread with an event loop stands behind it. It is started by the first call, used by any number of threads at
    once (whose adds of one moment share round trips), and closed by `close`, by the end of `with`, or by the end of the
    program. A fork finds it closed, and both sides open it again at need; while another thread waits for an answer it
    cannot be closed, so do not fork then on SQLite, which forbids to inherit what is open. A docket in memory is not
    shared with a child. Make one for a program, not one for a request.

    Arguments and what is not said here are as on `docket_core.Docket`. A method that is missing here, such as
    `Agenda.scatter`, goes through `run`. Transactions are not among them: `Docket.transaction` joins connections of
    asyncio, and a synchronous one belongs to its thread.

    Raises:
        ConfigurationError: the URL, or an option in it, cannot work; the message says what to do.
        InvalidKey: the name is outside its bounds.

    Every method that asks the store raises `RuntimeError` after `close`, and in a thread that runs an event loop,
    where `docket_core.Docket` is to be awaited instead.
    """

    def __init__(
        self,
        name: str = "docket",
        url: str | None = None,
        heartbeat_interval: timedelta = timedelta(seconds=2),
        missed_heartbeats: int = 5,
        execution_ttl: timedelta = timedelta(minutes=15),
        result_storage: KeyValueStore | None = None,
        enable_internal_instrumentation: bool = False,
        codec: Codec | None = None,
        clock: Clock | None = None,
    ) -> None:
        def make() -> Docket:
            return Docket(
                name,
                url,
                heartbeat_interval,
                missed_heartbeats,
                execution_ttl,
                result_storage,
                enable_internal_instrumentation,
                codec,
                clock,
            )

        self._docket: Docket = make()
        """Used on the thread only, but for its functions and settings."""

        def opened() -> Docket:
            if self._docket.is_open:  # and nobody is left to close it: it was open in a parent, when that forked
                functions = self._docket.functions
                self._docket = make()
                self._docket.tasks, self._docket.functions = functions.tasks, functions
            return self._docket

        self._thread = LoopThread(opened, f"docket {name}", _may_rest)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SyncDocket {self.name!r} at {self.url}>"

    @property
    def name(self) -> str:
        return self._docket.name

    @property
    def url(self) -> str:
        """Where the store is; without passwords, fit to be shown."""
        return self._docket.url

    @property
    def tasks(self) -> Mapping[str, AnyFunction]:
        """The functions that are known here, by name."""
        return self._docket.tasks

    def close(self, timeout: timedelta | None = None) -> None:
        """Close it for good; who still waits in another thread is told by a RuntimeError.

        Args:
            timeout: how long to wait for the store, at most.
        """
        self._thread.close(timeout.total_seconds() if timeout is not None else None)

    def run(self, function: Callable[[Docket], Awaitable[R]]) -> R:
        """What `await function(docket)` answers on the docket's own event loop, for all that has no method here.

        `docket.run(lambda docket: agenda.scatter(docket, over=timedelta(hours=1)))`
        """
        return self._thread.call(function)

    def register(self, function: F, names: Collection[str] | None = None) -> F:
        """As `docket_core.Docket.register`."""
        return self._docket.register(function, names)

    def register_collection(self, path: str) -> None:
        """As `docket_core.Docket.register_collection`."""
        self._docket.register_collection(path)

    @overload
    def add(
        self, function: Callable[P, Any], when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[P, SyncExecution]: ...

    @overload
    def add(
        self, function: str, when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[..., SyncExecution]: ...

    def add(
        self, function: AnyFunction | str, when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[..., SyncExecution]:
        """Put a call on the docket: `docket.add(send, when=later)("ann@example.com")`.

        Arguments, errors and what a taken key does are those of `docket_core.Docket.add`.
        """
        self._docket.functions.find(function)

        def added(*args: Any, **kwargs: Any) -> SyncExecution:
            return self._execution(self.run(lambda docket: docket.add(function, when, key)(*args, **kwargs)))

        return added

    @overload
    def replace(
        self, function: Callable[P, Any], when: datetime | timedelta | None, key: str
    ) -> Callable[P, SyncExecution]: ...

    @overload
    def replace(self, function: str, when: datetime | timedelta | None, key: str) -> Callable[..., SyncExecution]: ...

    def replace(
        self, function: AnyFunction | str, when: datetime | timedelta | None, key: str
    ) -> Callable[..., SyncExecution]:
        """As `add`, with the rules of `docket_core.Docket.replace`."""
        self._docket.functions.find(function)

        def replaced(*args: Any, **kwargs: Any) -> SyncExecution:
            return self._execution(self.run(lambda docket: docket.replace(function, when, key)(*args, **kwargs)))

        return replaced

    def call(
        self, function: AnyFunction | str, when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[..., TaskCall]:
        """Write down a call for `add_many` or `replace_many`; as `docket_core.Docket.call`."""
        return self._docket.call(function, when, key)

    def add_many(self, calls: Iterable[TaskCall]) -> list[SyncExecution]:
        """Put many calls on the docket in few round trips; as `docket_core.Docket.add_many`."""
        written = list(calls)
        return self._executions(self.run(lambda docket: docket.add_many(written)))

    def replace_many(self, calls: Iterable[TaskCall]) -> list[SyncExecution]:
        """As `add_many`, with the rules of `replace`; a call without a key is refused."""
        written = list(calls)
        return self._executions(self.run(lambda docket: docket.replace_many(written)))

    def cancel(self, key: str) -> CancelReply:
        """End a pending task as CANCELLED, or ask a running one to stop; as `docket_core.Docket.cancel`."""
        return self.run(lambda docket: docket.cancel(key))

    def clear(self) -> int:
        """End all pending tasks as CANCELLED, and answer how many; running ones are untouched."""
        return self.run(lambda docket: docket.clear())

    def get_execution(self, key: str) -> SyncExecution | None:
        """A handle on the task that has this key, or had it last; None where nothing is kept."""
        execution = self.run(lambda docket: docket.get_execution(key))
        return self._execution(execution) if execution is not None else None

    def failed(self, limit: int = 100) -> list[SyncExecution]:
        """Up to `limit` tasks whose latest run failed and is still kept; `error` says why."""
        return self._executions(self.run(lambda docket: docket.failed(limit)))

    def retry(self, key: str) -> SyncExecution:
        """Run a failed task again, now, with the arguments it had; as `docket_core.Docket.retry`."""
        return self._execution(self.run(lambda docket: docket.retry(key)))

    def strike(
        self,
        function: AnyFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | str = "==",
        value: object = None,
    ) -> None:
        """Leave tasks alone from now on and everywhere; as `docket_core.Docket.strike`."""
        self.run(lambda docket: docket.strike(function, parameter, operator, value))

    def restore(
        self,
        function: AnyFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | str = "==",
        value: object = None,
    ) -> None:
        """Take back the strike that was made with the same arguments."""
        self.run(lambda docket: docket.restore(function, parameter, operator, value))

    def wait_for_strikes_loaded(self) -> None:
        """Return once all strikes that were in force at the start are known here."""
        self.run(lambda docket: docket.wait_for_strikes_loaded())

    def snapshot(self) -> DocketSnapshot:
        """What stands on the docket now, to be read; `get_execution` makes a handle that can wait."""
        return self.run(lambda docket: docket.snapshot())

    def workers(self) -> Sequence[WorkerInfo]:
        """The workers that have shown themselves lately."""
        return self.run(lambda docket: docket.workers())

    def task_workers(self, task_name: str) -> Sequence[WorkerInfo]:
        """The workers that can run the function of this name."""
        return self.run(lambda docket: docket.task_workers(task_name))

    def _execution(self, execution: Execution) -> SyncExecution:
        return SyncExecution(execution, execution.docket, self._thread)

    def _executions(self, executions: Iterable[Execution]) -> list[SyncExecution]:
        return [self._execution(execution) for execution in executions]


def _may_rest(docket: Docket) -> bool:
    """What lives in this process only would be lost by closing it."""
    return docket.backend.capabilities.distributed
