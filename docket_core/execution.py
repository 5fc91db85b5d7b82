"""The handle on one run of a task: what it calls, where it stands, how it ended."""

import enum
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from docket_core.backend.clock import Micros, from_micros, to_micros
from docket_core.backend.model import Claim, Enqueued, EnqueueStatus
from docket_core.backend.records import Hold, Last, Live, Record
from docket_core.backend.states import State
from docket_core.functions import AnyFunction, TaskFunction
from docket_core.ids import uuid7
from docket_core.progress import ExecutionProgress
from docket_core.subscriptions import ProgressEvent, StateEvent, subscribe

if TYPE_CHECKING:
    import asyncio

    from docket_core.docket import Docket

ExecutionState = State
"""scheduled, queued, running, completed, failed, cancelled."""

Trace = Mapping[str, str] | None
Due = Micros | timedelta | None


class Disposition(enum.StrEnum):
    """What has come of scheduling an execution."""

    LOADED = "loaded"
    """Not scheduled through this handle: it was read from the store or claimed."""
    SCHEDULED = "scheduled"
    ALREADY_SCHEDULED = "already_scheduled"
    """Its key was taken; this handle follows the run that has it."""
    STRUCK = "struck"
    """A strike stopped it; nothing was written."""
    SUPERSEDED = "superseded"
    """Its run has been replaced."""
    FAILED = "failed"
    """It was refused; `error` says why, and nothing was written."""


_DISPOSITIONS = {EnqueueStatus.ACCEPTED: Disposition.SCHEDULED, EnqueueStatus.EXISTS: Disposition.ALREADY_SCHEDULED}
_LOADED, _REFUSED = Disposition.LOADED, EnqueueStatus.REFUSED
_SCHEDULED, _RUNNING = State.SCHEDULED, State.RUNNING
"""Looked up once, for every task: a member of an enum costs as much as a call."""


class Grant(Protocol):
    """What a running execution may say about its own run; the worker makes it."""

    @property
    def token(self) -> int:
        """The fence of this grant."""
        ...

    @property
    def claim(self) -> Claim:
        """The claim behind it."""
        ...

    @property
    def superseded(self) -> bool:
        """Whether the key is known to have been taken by another run."""
        ...

    def record_successor(self, execution: "Execution") -> None:
        """Let `execution` follow in the same step that ends this run.

        Raises:
            RuntimeError: this is not the time: only hooks at the end of a run may.
        """
        ...


class Execution:
    """One run of a task function with its arguments.

    Args:
        docket: where it belongs.
        function: what to call; a registered function.
        args, kwargs: its arguments.
        key: the task's key; None makes a UUIDv7.
        when: an aware datetime, a timedelta from the store's now, or None for at once.
        attempt: which of the user's attempts this is, from 1.
        trace_context: what travels with the call for tracing.
        redelivered: whether an earlier grant of this very run was lost.
        generation: how often the key was added, replaced or continued.
        function_name: the name workers know the function by, if it is not its own.
        run: the identity that a waiter follows; None makes one.
    """

    __slots__ = (
        "_args",
        "_docket",
        "_function",
        "_generation",
        "_key",
        "_kwargs",
        "_name",
        "_progress",
        "_redelivered",
        "_started",
        "_task",
        "_trace_context",
        "_when",
        "attempt",
        "completed_at",
        "disposition",
        "error",
        "grant",
        "result_key",
        "run",
        "state",
        "worker",
    )

    def __init__(
        self,
        docket: "Docket",
        function: AnyFunction,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        key: str | None = None,
        when: datetime | timedelta | None = None,
        attempt: int = 1,
        trace_context: Mapping[str, str] | None = None,
        redelivered: bool = False,
        generation: int = 0,
        function_name: str | None = None,
        run: str | None = None,
    ) -> None:
        self._docket = docket
        self._function = function
        self._task: TaskFunction | None = None
        self._name = function_name
        self._args = args
        self._kwargs: dict[str, Any] = dict(kwargs) if kwargs else {}
        self._key = key if key is not None else uuid7()
        self.run = run if run is not None else self._key if key is None else uuid7()
        self._when: Micros | timedelta | None = when if when is None or isinstance(when, timedelta) else to_micros(when)
        self.attempt = attempt
        self._trace_context = trace_context
        self._redelivered = redelivered
        self._generation = generation
        self._progress: ExecutionProgress | None = None
        self.state = _SCHEDULED
        self.worker: str | None = None
        self._started: Micros | None = None
        self.completed_at: datetime | None = None
        self.error: str | None = None
        self.result_key: str | None = None
        self.disposition = _LOADED
        self.grant: Grant | None = None
        """Set while this run is being run here, for its body and hooks; None on every other handle."""

    @property
    def docket(self) -> "Docket":
        return self._docket

    @property
    def function(self) -> AnyFunction:
        return self._function

    @property
    def function_name(self) -> str:
        """The name workers know the function by."""
        return self._name if self._name is not None else self.task.name

    @property
    def task(self) -> TaskFunction:
        """What is known of the function."""
        if self._task is None:
            if self._name is not None and self._name not in self._docket.tasks:  # read from the store, unknown here
                self._task = TaskFunction(self._name, self._function)
            else:
                self._task = self._docket.functions.find(self._function if self._name is None else self._name)
        return self._task

    @property
    def args(self) -> tuple[Any, ...]:
        return self._args

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._kwargs

    @property
    def key(self) -> str:
        return self._key

    @property
    def trace_context(self) -> Mapping[str, str] | None:
        return self._trace_context

    @property
    def redelivered(self) -> bool:
        return self._redelivered

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def token(self) -> int | None:
        """The fence of the running grant, strictly increasing within a docket; None where it does not run.

        Write it with an effect, and refuse writes with a smaller one, to fence the effect.
        """
        return self.grant.token if self.grant is not None else None

    @property
    def when(self) -> datetime:
        """When it is due. Setting it matters to what is scheduled with this handle afterwards."""
        if isinstance(self._when, int):
            return from_micros(self._when)
        return from_micros(self._docket.clock.now()) + (self._when or timedelta())

    @when.setter
    def when(self, value: datetime | timedelta | None) -> None:
        self._when = value if value is None or isinstance(value, timedelta) else to_micros(value)

    @property
    def due(self) -> Micros | timedelta | None:
        """What was asked for: a moment in microseconds since the epoch, a delay, or None for at once."""
        return self._when

    @property
    def started_at(self) -> datetime | None:
        """When it was claimed to be run; None if it was not, as far as is known here."""
        return None if self._started is None else from_micros(self._started)

    @property
    def progress(self) -> ExecutionProgress:
        """How far the run has come."""
        if self._progress is None:
            self._progress = ExecutionProgress(self)
        return self._progress

    def sent(self) -> "tuple[str, str, tuple[Any, ...], dict[str, Any], str, Trace, Due, int]":
        """What goes into a record: key, function's name, arguments, run, trace context, `due`, attempt."""
        name = self._name if self._name is not None else self.task.name
        return self._key, name, self._args, self._kwargs, self.run, self._trace_context, self._when, self.attempt

    def __repr__(self) -> str:
        return f"<Execution {self.function_name} {self._key!r} {self.state.value}>"

    def get_argument(self, name: str) -> Any:
        """The value given for the parameter `name`, or its default.

        Raises:
            KeyError: nothing was given and there is no default, or no such parameter.
        """
        given = self.task.arguments(self._args, self._kwargs)
        if name in given:
            return given[name]
        parameter = self.task.signature.parameters.get(name)
        if parameter is None or parameter.default is parameter.empty or name in self.task.dependencies:
            raise KeyError(name)
        return parameter.default

    def call_repr(self) -> str:
        """The call as text in which only arguments annotated with `Logged` are shown."""
        return self.task.call_repr(self._args, self._kwargs)

    def general_labels(self) -> dict[str, str]:
        """Labels of bounded variety, fit for metrics."""
        return {"docket.task": self.function_name}

    def specific_labels(self) -> dict[str, str | int | bool]:
        """Labels that tell this run from others, fit for spans and logs only."""
        return {
            "docket.task": self.function_name,
            "docket.key": self._key,
            "docket.when": self.when.isoformat(),
            "docket.attempt": self.attempt,
            "docket.redelivered": self._redelivered,
        }

    async def schedule(self, replace: bool = False) -> "Execution":
        """Put it on its docket; in a hook at the end of its own run, record it as that run's successor.

        Raises:
            InvalidInput: it was refused; nothing was written.
        """
        if self.grant is not None:
            self.grant.record_successor(self)
            return self
        return await self._docket.schedule(self, replace=replace)

    async def get_result(self, *, timeout: timedelta | None = None, deadline: datetime | None = None) -> Any:
        """Wait for the end of this run, and return what the task returned.

        Args:
            timeout: how long to wait at most.
            deadline: until when to wait, an aware datetime; not together with `timeout`.

        Raises:
            ValueError: both `timeout` and `deadline` were given.
            TimeoutError: it has not ended in that time.
            ExecutionCancelled: it was cancelled.
            ExecutionSuperseded: another run has replaced it.
            ResultExpired: nothing is kept of it any more.
            ExecutionFailed: it failed with something that cannot be raised here; the text shows it.
            Exception: whatever the task raised.
        """
        if timeout is not None and deadline is not None:
            raise ValueError("give timeout or deadline, not both")
        until: Micros | None = None
        if timeout is not None:
            until = self._docket.clock.now() + to_micros(timeout)
        elif deadline is not None:
            until = to_micros(deadline)
        return await self._docket.outcomes.result(self, until)

    async def sync(self) -> None:
        """Bring state, times, error and progress of this handle up to date with the store."""
        record = (await self._docket.backend.get([self._key]))[0]
        if record is not None:
            self.update(record)

    def subscribe(self, *, ready: "asyncio.Event | None" = None) -> AsyncGenerator[StateEvent | ProgressEvent, None]:
        """The present state and progress, then live events, to the end of this run.

        Args:
            ready: set once the subscription is live.
        """
        return subscribe(self, ready)

    async def is_superseded(self) -> bool:
        """Whether another run has taken this one's key."""
        if self.grant is not None and self.grant.superseded:
            return True
        record = (await self._docket.backend.get([self._key]))[0]
        if record is None:
            return False
        if record.live is not None and record.live.run == self.run:
            return record.live.generation > self._generation > 0
        if record.last is not None and record.last.run == self.run:
            return False
        return record.live is not None or record.last is not None

    def accepted(self, reply: Enqueued) -> None:
        """Take over what the store answered to scheduling this."""
        status, run, generation, when, state, error = reply
        if status is _REFUSED:
            self.refuse(str(error))
            return
        self.disposition = _DISPOSITIONS[status]
        self.run = run
        self._generation = generation
        self._when = when
        self.state = state

    def new_run(self) -> str:
        """Give this handle a run of its own, for a successor."""
        self.run = uuid7()
        return self.run

    def begun(self, claim: Claim, worker: str, grant: Grant) -> None:
        """This handle is the one that its body and hooks see."""
        self.grant = grant
        self.state = _RUNNING
        self.worker = worker
        self._started = claim.claimed_at
        self._when = claim.when

    def refuse(self, why: str) -> None:
        """Mark it as refused: nothing of it was written."""
        self.disposition = Disposition.FAILED
        self.error = why

    def update(self, record: Record) -> None:
        """Take over what the store keeps of this run; of another run's record only that this one is superseded."""
        for part in (record.live, record.last, record.hold):
            if part is not None and part.run == self.run:
                self._take(part)
                return
        self.disposition = Disposition.SUPERSEDED

    def _take(self, part: Live | Last | Hold) -> None:
        self._generation = part.generation
        self._when = part.when
        self.attempt = part.attempt
        self.worker = part.worker
        self._started = part.started_at
        if isinstance(part, Hold):
            self.state = State.RUNNING
            self.disposition = Disposition.SUPERSEDED
            return
        self.state = part.state
        if isinstance(part, Last):
            self.completed_at = from_micros(part.completed_at)
            self.error = part.error
        else:
            self.completed_at = self.error = None
            self.progress.take(part.progress)
