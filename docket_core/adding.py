"""Putting calls on a docket: what `Docket` and a transaction have in common."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, overload

from docket_core import instrumentation
from docket_core.backend.clock import Clock, Micros, to_micros
from docket_core.backend.kit import check_label, check_size
from docket_core.backend.model import Enqueued, OnConflict, Task, make
from docket_core.backend.protocol import Enqueuer
from docket_core.codec import CodecContext, encode_call, encode_headers
from docket_core.errors import ConfigurationError, DocketError, InvalidInput
from docket_core.execution import Disposition, Execution
from docket_core.functions import AnyFunction, TaskFunction, placeholder

if TYPE_CHECKING:
    from docket_core.docket import Docket

P = ParamSpec("P")
_LAST_MOMENT = to_micros(datetime.max.replace(tzinfo=UTC))
_KEEP, _SCHEDULED = OnConflict.KEEP, Disposition.SCHEDULED
"""Looked up once: a member of an enum costs as much as a call."""
_NO_CONTEXT: Mapping[str, str] = {}
MANY = 1000
"""How many tasks go into one call of the backend."""


class TaskCall(NamedTuple):
    """A call that has been written down but not put on any docket."""

    function_name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}
    key: str | None = None
    when: datetime | timedelta | None = None


class Adder(ABC):
    """Takes calls of registered functions and puts them on a docket."""

    def __init__(self, docket: "Docket") -> None:
        self.docket = docket
        """The docket that the calls are put on."""
        self._calls: dict[TaskFunction, Callable[..., Awaitable[Execution]]] = {}
        """What `add` answers for a function alone: it is the same each time."""

    @abstractmethod
    def _enqueue(self, task: Task, on_conflict: OnConflict) -> Awaitable[Enqueued]:
        """Send one task."""

    @abstractmethod
    def _enqueue_many(self, tasks: Sequence[Task], on_conflict: OnConflict) -> Awaitable[Sequence[Enqueued]]:
        """Send many tasks that are treated alike."""

    @overload
    def add(
        self, function: Callable[P, Any], when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[P, Awaitable[Execution]]: ...

    @overload
    def add(
        self, function: str, when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[..., Awaitable[Execution]]: ...

    def add(
        self, function: AnyFunction | str, when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[..., Awaitable[Execution]]:
        """Put a call on the docket: `await docket.add(send, when=later)("ann@example.com")`.

        A key that is scheduled, queued or running already is kept as it is; the execution then follows the
        run that has the key, and its disposition is ALREADY_SCHEDULED.

        Args:
            function: the function, which is registered if it is not yet, or the name of a registered one.
            when: an aware datetime, or a timedelta from the store's now; None is at once.
            key: what identifies the task, 1 to 512 bytes without control characters; None makes a UUIDv7.

        Raises:
            KeyError: no function is registered under that name.
            TypeError: the function does not take this call.
            InvalidInput: a key, payload or time outside its bounds; nothing was written.
            Unserializable: an argument cannot be encoded; nothing was written.
            BackendUnavailable, Overloaded: the store cannot be reached, or refuses.
        """
        task = self.docket.functions.find(function)
        if when is not None or key is not None:
            return self._call(task, when, key, _KEEP)
        call = self._calls.get(task)
        if call is None:
            call = self._calls[task] = self._call(task, None, None, _KEEP)
        return call

    @overload
    def replace(
        self, function: Callable[P, Any], when: datetime | timedelta | None, key: str
    ) -> Callable[P, Awaitable[Execution]]: ...

    @overload
    def replace(
        self, function: str, when: datetime | timedelta | None, key: str
    ) -> Callable[..., Awaitable[Execution]]: ...

    def replace(
        self, function: AnyFunction | str, when: datetime | timedelta | None, key: str
    ) -> Callable[..., Awaitable[Execution]]:
        """As `add`, but what is pending under the key is overwritten, and what runs is superseded.

        A superseded run goes on to its end, but neither its progress nor its result is kept, and the newer one
        starts after it. An unknown key is added.
        """
        return self._call(self.docket.functions.find(function), when, key, OnConflict.REPLACE)

    def call(
        self, function: AnyFunction | str, when: datetime | timedelta | None = None, key: str | None = None
    ) -> Callable[..., TaskCall]:
        """Write down a call for `add_many` or `replace_many`; touches nothing.

        Raises:
            KeyError: no function is registered under that name.
            TypeError: the function does not take this call.
        """
        task = self.docket.functions.find(function)

        def written(*args: Any, **kwargs: Any) -> TaskCall:
            task.check_call(args, kwargs)
            return TaskCall(task.name, args, kwargs, key, when)

        return written

    async def add_many(self, calls: Iterable[TaskCall]) -> list[Execution]:
        """Put many calls on the docket in as few round trips as possible.

        Returns their executions in the order of the calls. An item that is refused has the disposition FAILED
        and its `error` says why; the others are not affected.
        """
        return await self._call_many(calls, OnConflict.KEEP)

    async def replace_many(self, calls: Iterable[TaskCall]) -> list[Execution]:
        """As `add_many`, with the rules of `replace`; a call without a key is refused."""
        return await self._call_many(calls, OnConflict.REPLACE)

    async def schedule(self, execution: Execution, replace: bool = False) -> Execution:
        """Put an execution on the docket that was made by hand.

        Raises:
            InvalidInput: it was refused; nothing was written.
        """
        on_conflict = OnConflict.REPLACE if replace else OnConflict.KEEP
        if instrumentation.tracing():
            return await self._trace(execution, on_conflict, "schedule")
        return await self._send(execution, on_conflict, _NO_CONTEXT)

    def _call(
        self, task: TaskFunction, when: datetime | timedelta | None, key: str | None, on_conflict: OnConflict
    ) -> Callable[..., Awaitable[Execution]]:
        docket = self.docket

        async def scheduled(*args: Any, **kwargs: Any) -> Execution:
            task.check_call(args, kwargs)
            execution = Execution(docket, task.function, args, kwargs, key, when, 1, None, False, 0, task.name)
            if instrumentation.tracing():
                return await self._trace(execution, on_conflict, "add" if on_conflict is _KEEP else "replace")
            if docket.strike_list.in_effect and self._is_struck(execution):  # as `_send`, a coroutine less for each
                return execution
            reply = await self._enqueue(_task(docket, execution, _NO_CONTEXT), on_conflict)
            return self._answered(execution, reply, on_conflict)

        return scheduled

    async def _trace(self, execution: Execution, on_conflict: OnConflict, operation: str) -> Execution:
        docket = self.docket
        attributes = docket.labels() | execution.specific_labels()
        with instrumentation.tracer.start_as_current_span(f"docket.{operation}", attributes=attributes):
            return await self._send(execution, on_conflict, instrumentation.outgoing_context())

    async def _send(self, execution: Execution, on_conflict: OnConflict, outgoing: Mapping[str, str]) -> Execution:
        docket = self.docket
        if docket.strike_list.in_effect and self._is_struck(execution):
            return execution
        reply = await self._enqueue(_task(docket, execution, outgoing), on_conflict)
        return self._answered(execution, reply, on_conflict)

    def _answered(self, execution: Execution, reply: Enqueued, on_conflict: OnConflict) -> Execution:
        execution.accepted(reply)
        if reply.error is not None:
            raise reply.error
        if execution.disposition is _SCHEDULED:
            count_added(self.docket, execution.function_name, 1, on_conflict)
        return execution

    def _is_struck(self, execution: Execution) -> bool:
        docket = self.docket
        if not docket.strike_list.is_stricken(execution):
            return False
        execution.disposition = Disposition.STRUCK
        instrumentation.TASKS_STRICKEN.add(1, docket.labels_of(execution.function_name))
        return True

    async def _call_many(self, calls: Iterable[TaskCall], on_conflict: OnConflict) -> list[Execution]:
        docket = self.docket
        outgoing = instrumentation.outgoing_context()
        executions: list[Execution] = []
        sent: list[Execution] = []
        tasks: list[Task] = []
        for call in calls:
            name = call.function_name
            function = docket.tasks.get(name) or placeholder(name)
            execution = Execution(docket, function, call.args, call.kwargs, call.key, function_name=name)
            executions.append(execution)
            try:
                if call.when is not None:
                    execution.when = call.when
                self._check(call, on_conflict)
                if not (docket.strike_list.in_effect and self._is_struck(execution)):
                    tasks.append(_task(docket, execution, outgoing))
                    sent.append(execution)
            except (DocketError, ValueError, TypeError, KeyError) as error:
                execution.refuse(str(error.args[0]) if isinstance(error, KeyError) else str(error))
        for start in range(0, len(tasks), MANY):
            portion = tasks[start : start + MANY]
            replies = await self._enqueue_many(portion, on_conflict)
            scheduled = Counter[str]()
            for execution, reply in zip(sent[start : start + MANY], replies, strict=True):
                execution.accepted(reply)
                if execution.disposition is _SCHEDULED:
                    scheduled[execution.function_name] += 1
            for name, number in scheduled.items():
                count_added(docket, name, number, on_conflict)
        return executions

    def _check(self, call: TaskCall, on_conflict: OnConflict) -> None:
        """Refuse what may be wrong with a call that was made by hand, or for another docket."""
        self.docket.functions.described(call.function_name).check_call(call.args, call.kwargs)
        if on_conflict is OnConflict.REPLACE and call.key is None:
            raise ConfigurationError("a call for replace_many needs a key")


def _task(docket: "Docket", execution: Execution, outgoing: Mapping[str, str]) -> Task:
    """The record to send; refuses, before anything is written, what cannot be sent."""
    key, name, args, kwargs, run, trace, due, attempt = execution.sent()
    if key is not run:  # else it was made here
        check_label("key", key)
    payload = encode_call(docket.codec, make(CodecContext, (docket.name, key, name, "call")), args, kwargs)
    if len(payload) > docket.max_payload:
        check_size(f"payload of {name}", payload, docket.backend.capabilities.max_payload)
    context = outgoing if trace is None else trace
    headers = encode_headers(context) if context else b""
    if due is None:
        return make(Task, (key, name, payload, run, headers, None, None, attempt))
    check_due(due, docket.clock)
    if isinstance(due, timedelta):
        return Task(key, name, payload, run, headers, None, to_micros(due), attempt)
    return Task(key, name, payload, run, headers, due, None, attempt)


def count_added(docket: "Docket", function_name: str, number: int, on_conflict: OnConflict) -> None:
    """Count calls that were put on a docket."""
    labels = docket.labels_of(function_name)
    counter = instrumentation.TASKS_ADDED if on_conflict is _KEEP else instrumentation.TASKS_REPLACED
    counter.add(number, labels)
    instrumentation.TASKS_SCHEDULED.add(number, labels)


def check_due(due: Micros | timedelta | None, clock: Clock) -> None:
    """Refuse a time after the last one that a datetime can show.

    Raises:
        InvalidInput: it says so.
    """
    if due is None:
        return
    moment = due if isinstance(due, int) else clock.now() + to_micros(due)
    if moment > _LAST_MOMENT:
        raise InvalidInput("a task cannot be due after the year 9999")


def send_tasks(enqueuer: Enqueuer, items: Sequence[tuple[Task, OnConflict]]) -> Awaitable[Sequence[Enqueued]]:
    """Send tasks in their order: neighbours that are treated alike share a call."""
    task, on_conflict = items[0]
    if len(items) == 1:
        if task.when is None and task.delay is None:
            return enqueuer.enqueue([task], on_conflict)
        return enqueuer.schedule([task], on_conflict)
    if all(item[1] is on_conflict for item in items):
        return send_alike(enqueuer, [task for task, _ in items], on_conflict)
    return _send_groups(enqueuer, items)


async def _send_groups(enqueuer: Enqueuer, items: Sequence[tuple[Task, OnConflict]]) -> Sequence[Enqueued]:
    replies: list[Enqueued] = []
    for on_conflict, group in groupby(items, key=lambda item: item[1]):
        replies += await send_alike(enqueuer, [task for task, _ in group], on_conflict)
    return replies


def send_alike(enqueuer: Enqueuer, tasks: Sequence[Task], on_conflict: OnConflict) -> Awaitable[Sequence[Enqueued]]:
    """Send tasks with one rule for conflicts: `enqueue` if all are for now."""
    for task in tasks:
        if task.when is not None or task.delay is not None:
            return enqueuer.schedule(tasks, on_conflict)
    return enqueuer.enqueue(tasks, on_conflict)
