"""The docket: functions go on it, now or for later, and workers take them off."""

import importlib
import os
from collections.abc import Awaitable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from docket_core import instrumentation
from docket_core.adding import Adder, count_added, send_alike, send_tasks
from docket_core.backend.clock import SYSTEM_CLOCK, Clock, to_micros
from docket_core.backend.kit import check_label
from docket_core.backend.model import CancelReply, Enqueued, OnConflict, ProgressReply, ProgressUpdate, Task
from docket_core.backend.observed import ObservedBackend
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.backend.states import State
from docket_core.backend.url import parse_url, redact
from docket_core.backend.watch import AttentiveClock
from docket_core.batching import Batcher
from docket_core.codec import CloudpickleCodec, Codec
from docket_core.errors import ConfigurationError
from docket_core.execution import Disposition, Execution
from docket_core.functions import AnyFunction, FunctionTable
from docket_core.logs import get_logger
from docket_core.outcomes import Outcomes
from docket_core.results import KeyValueStore, ResultStorage
from docket_core.snapshot import DocketSnapshot, WorkerInfo, execution_of, take_snapshot, worker_info
from docket_core.strikelist import StrikeList
from docket_core.strikes import Instruction, Operator
from docket_core.tasks import standard_tasks
from docket_core.transaction import DocketTransaction

logger = get_logger("docket_core.docket")
F = TypeVar("F", bound=AnyFunction)

DEFAULT_URL = "sqlite:///docket.db"
"""Where a docket is kept unless something else is said: an embedded store that several processes can share."""


_ENOUGH = 32
"""So many adds that come while one is under way do not wait for it: they were asked for at the same time."""


class Docket(Adder):
    """A named collection of tasks in a store, and the functions that are known here.

    Use it as an async context manager; `register` works before it is entered.

    Args:
        name: dockets of different names on one store share nothing.
        url: which store; None reads the variable DOCKET_URL, else it is `sqlite:///docket.db`.
        heartbeat_interval: how often workers show that they live.
        missed_heartbeats: after how many missed ones a worker is forgotten.
        execution_ttl: how long the end of a task and its result are kept; 0 forgets at once.
        result_storage: where results go instead of the store: a py-key-value store.
        enable_internal_instrumentation: spans for every operation on the store.
        codec: how arguments, results and strikes become bytes; cloudpickle unless something else is said.
        clock: for tests, the time by which the store decides.

    Raises:
        ConfigurationError: the URL, or an option in it, cannot work; the message says what to do.
        InvalidKey: the name is outside its bounds.
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
        super().__init__(self)
        if "://" in name:
            raise ConfigurationError(f"{redact(name)!r} is no docket's name but a URL; write Docket(url=…)")
        check_label("docket name", name)
        self.name = name
        self._url = url or os.environ.get("DOCKET_URL") or DEFAULT_URL
        parse_url(self._url)
        self.heartbeat_interval = heartbeat_interval
        self.missed_heartbeats = missed_heartbeats
        self.execution_ttl = execution_ttl
        self.result_storage = result_storage
        self.enable_internal_instrumentation = enable_internal_instrumentation
        self.codec: Codec = codec if codec is not None else CloudpickleCodec()
        self.tasks: dict[str, AnyFunction] = {}
        self.functions = FunctionTable(self.tasks)
        for task in standard_tasks:
            self.register(task)
        self._clock = clock
        self._backend: Backend | None = None
        self.max_payload = 0
        """The most bytes of a payload that the open store takes."""
        self._stack: AsyncExitStack | None = None
        self.strike_list = StrikeList(name=name, codec=self.codec)
        """The strikes in force."""
        self.results = ResultStorage(result_storage, name, execution_ttl) if result_storage and execution_ttl else None
        self.outcomes = Outcomes(self)
        self._adds = Batcher[tuple[Task, OnConflict], Enqueued](self._send_adds, enough=_ENOUGH)
        self._cancels = Batcher[str, CancelReply](self._send_cancels)
        self._progress = Batcher[ProgressUpdate, ProgressReply](self._send_progress)
        self._labels: dict[str, dict[str, str]] = {}

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise RuntimeError(f"{self!r} is open already; make another Docket for another use")
        async with AsyncExitStack() as stack:
            backend = self.open_backend()
            await stack.enter_async_context(backend)
            self._backend, self.max_payload = backend, backend.capabilities.max_payload
            strikes = StrikeList(name=self.name, backend=backend, codec=self.codec)
            self.strike_list = await stack.enter_async_context(strikes)
            self.outcomes = Outcomes(self)
            stack.push_async_callback(self.outcomes.close)
            self._stack = stack.pop_all()
        logger.info("docket %r is kept at %s", self.name, backend.url)
        logger.debug("%s: %s", backend.url, backend.capabilities)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            try:
                await stack.__aexit__(kind, error, trace)
            finally:
                self._backend, self.max_payload = None, 0

    def __repr__(self) -> str:
        return f"<Docket {self.name!r} at {self.url}>"

    @property
    def url(self) -> str:
        """Where the store is; without passwords, fit to be shown."""
        return parse_url(self._url).redacted

    @property
    def is_open(self) -> bool:
        """Whether it has been entered and not left."""
        return self._stack is not None

    @property
    def backend(self) -> Backend:
        """The open store.

        Raises:
            RuntimeError: the docket is not open.
        """
        if self._backend is None:
            raise RuntimeError(f"{self!r} is not open; use it inside `async with docket:`")
        return self._backend

    @property
    def clock(self) -> Clock:
        """The clock for timers and for times that are only shown."""
        return self._clock or SYSTEM_CLOCK

    def open_backend(self) -> Backend:
        """Another user of the same store, not yet entered."""
        clock = self._clock
        backend = open_backend(self._url, self.name, retention=to_micros(self.execution_ttl), clock=clock)
        watcher = clock.watcher(self.name) if isinstance(clock, AttentiveClock) else None
        return ObservedBackend(backend, instrumented=self.enable_internal_instrumentation, watcher=watcher)

    def register(self, function: F, names: Collection[str] | None = None) -> F:
        """Make a function known here under its own name, or under `names`; answers the function.

        Raises:
            ValueError: another function has the name, or its dependencies contradict each other.
        """
        self.functions.register(function, names)
        return function

    def register_collection(self, path: str) -> None:
        """Register every function of a collection: `package.module:attribute`, where attribute is iterable.

        Raises:
            ConfigurationError: the path leads to nothing of the kind.
        """
        module_name, colon, attribute = path.partition(":")
        if not colon or not attribute:
            raise ConfigurationError(f"{path!r} is no path to a collection; it has the form package.module:attribute")
        try:
            collection = getattr(importlib.import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                form = "package.module:attribute" + (", without .py" if module_name.endswith(".py") else "")
                raise ConfigurationError(f"there is no module {error.name!r} here; write {form}") from error
            raise ConfigurationError(f"{module_name} cannot be imported for {path!r}: {error}") from error
        except AttributeError as error:
            raise ConfigurationError(f"{module_name} has no attribute {attribute!r}") from error
        if callable(collection):
            collection = [collection]
        elif not isinstance(collection, Iterable):
            raise ConfigurationError(f"{path!r} leads to no collection but to {type(collection).__name__}")
        for function in cast("Iterable[AnyFunction]", collection):
            self.register(function)

    def labels(self) -> dict[str, str]:
        """The labels that tell this docket from others in metrics and spans."""
        return {"docket.name": self.name}

    def labels_of(self, function_name: str) -> dict[str, str]:
        """The labels for metrics of one function."""
        labels = self._labels.get(function_name)
        if labels is None:
            labels = self._labels[function_name] = {"docket.name": self.name, "docket.task": function_name}
        return labels

    async def cancel(self, key: str) -> CancelReply:
        """End a pending task as CANCELLED, or ask a running one to stop.

        Answers CANCELLED, REQUESTED or GONE (nothing live has that key). A running task that is async is stopped at
        its next await; one that is not goes on in its thread, though its run ends CANCELLED.
        """
        check_label("key", key)
        with self._span("cancel", {"docket.key": key}):
            reply = await self._cancels(key)
        if reply is CancelReply.CANCELLED:
            instrumentation.TASKS_CANCELLED.add(1, self.labels())
        return reply

    async def clear(self) -> int:
        """End all pending tasks as CANCELLED, and answer how many; running ones are untouched."""
        with self._span("clear", {}):
            return await self.backend.clear()

    async def get_execution(self, key: str) -> Execution | None:
        """A handle on the task that has this key, or had it last; None where nothing is kept."""
        record = (await self.backend.get([key]))[0]
        if record is None:
            return None
        part = record.live or record.last or record.hold
        return execution_of(self, key, part) if part is not None else None

    async def failed(self, limit: int = 100) -> list[Execution]:
        """Up to `limit` tasks whose latest run failed and is still kept; `error` says why."""
        page = await self.backend.scan({State.FAILED}, limit)
        return [
            execution_of(self, record.key, record.last)
            for record in page.records
            if record.last is not None and record.last.state is State.FAILED
        ]

    async def retry(self, key: str) -> Execution:
        """Run a failed task again, now, with the arguments it had; the same key, a new run.

        Raises:
            KeyError: nothing failed is kept under that key.
        """
        check_label("key", key)
        record = (await self.backend.get([key]))[0]
        last = record.last if record is not None else None
        if last is None or last.state is not State.FAILED:
            raise KeyError(f"no failed task is kept under {key!r}")
        execution = execution_of(self, key, last)
        if self.strike_list.in_effect and self._is_struck(execution):
            return execution
        task = Task(key, last.function, last.payload, execution.new_run(), last.headers)
        execution.accepted(await self._enqueue(task, OnConflict.KEEP))
        if execution.disposition is Disposition.SCHEDULED:
            count_added(self, execution.function_name, 1, OnConflict.KEEP)
        return execution

    async def strike(
        self,
        function: AnyFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | str = "==",
        value: object = None,
    ) -> None:
        """Leave alone, from now on and everywhere, every task of `function`, or those whose `parameter` compares so
        with `value`. They are not scheduled, and end CANCELLED when they would be run.

        Raises:
            ValueError: neither function nor parameter, or an unknown operator.
            Unserializable: the codec does not take the value; nothing was written.
        """
        with self._span("strike", {}):
            await self.strike_list.strike(function, parameter, operator, value)

    async def restore(
        self,
        function: AnyFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | str = "==",
        value: object = None,
    ) -> None:
        """Take back the strike that was made with the same arguments."""
        with self._span("restore", {}):
            await self.strike_list.restore(function, parameter, operator, value)

    async def send_instruction(self, instruction: Instruction) -> None:
        """Strike or restore, as an instruction that was made by hand says."""
        await self.strike_list.send_instruction(instruction)

    async def wait_for_strikes_loaded(self) -> None:
        """Return once all strikes that were in force at the start are known here."""
        await self.strike_list.wait_for_strikes_loaded()

    async def snapshot(self) -> DocketSnapshot:
        """What stands on the docket now: lists of at most 1,000 tasks, exact totals, the workers."""
        return await take_snapshot(self)

    async def workers(self) -> Sequence[WorkerInfo]:
        """The workers that have shown themselves lately."""
        return [worker_info(record) for record in await self.backend.workers()]

    async def task_workers(self, task_name: str) -> Sequence[WorkerInfo]:
        """The workers that can run the function of this name."""
        return [worker_info(record) for record in await self.backend.workers(task_name)]

    def transaction(self, connection: object) -> DocketTransaction:
        """Put tasks into a database transaction of your own: they exist if, and once, it commits.

        `async with docket.transaction(session) as tx: await tx.add(send)("ann@example.com")`

        Args:
            connection: a SQLAlchemy AsyncSession or AsyncConnection, or the driver's own connection, to the
                very database that the docket is kept in.

        Raises:
            CapabilityMissing: this store has no transactions that one can join.
            ConfigurationError: the connection cannot carry it.
        """
        return DocketTransaction(self, connection)

    async def send_progress(self, update: ProgressUpdate) -> ProgressReply:
        """Tell of a running task's progress; calls of one moment share a round trip."""
        return await self._progress(update)

    def _send_adds(self, items: list[tuple[Task, OnConflict]]) -> Awaitable[Sequence[Enqueued]]:
        return send_tasks(self._backend or self.backend, items)  # the second tells that it is not open

    def _send_cancels(self, keys: list[str]) -> Awaitable[Sequence[CancelReply]]:
        return self.backend.cancel(keys)

    def _send_progress(self, updates: list[ProgressUpdate]) -> Awaitable[Sequence[ProgressReply]]:
        return self.backend.progress(updates)

    def _enqueue(self, task: Task, on_conflict: OnConflict) -> Awaitable[Enqueued]:
        return self._adds((task, on_conflict))

    def _enqueue_many(self, tasks: Sequence[Task], on_conflict: OnConflict) -> Awaitable[Sequence[Enqueued]]:
        return send_alike(self.backend, tasks, on_conflict)

    def _span(self, operation: str, attributes: dict[str, str]) -> Any:
        return instrumentation.tracer.start_as_current_span(
            f"docket.{operation}", attributes=self.labels() | attributes
        )
