"""One grant while it is being run: what its body and hooks may say about it, and how it is stopped."""

import asyncio
import enum
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from docket_core.adding import check_due
from docket_core.backend.clock import Micros, to_micros
from docket_core.backend.kit import check_size
from docket_core.backend.model import Ack, Claim, Task
from docket_core.codec import CodecContext, encode_call, encode_headers

if TYPE_CHECKING:
    from docket_core.docket import Docket
    from docket_core.execution import Execution


class Stop(enum.Enum):
    """Why a run was stopped from outside."""

    CANCELLED = "its cancel was requested"
    LOST = "its lease was lost"
    SHUTDOWN = "the worker shuts down"


class Phase(enum.Enum):
    """How far a run is; it may record what follows only in a hook at its end."""

    BODY = "body"
    FAILURE = "failure"
    COMPLETION = "completion"


class Again(NamedTuple):
    """The same run is to be tried again."""

    when: Micros | None
    delay: Micros | None
    attempt: int

    def ack(self, claim: Claim) -> Ack:
        return Ack.retry(claim, attempt=self.attempt, when=self.when, delay=self.delay)


class Run:
    """One grant; it is what `execution.grant` refers to."""

    __slots__ = (
        "_docket",
        "again",
        "begun",
        "claim",
        "confirmed_until",
        "phase",
        "stopped",
        "successor",
        "superseded",
        "task",
    )

    def __init__(self, docket: "Docket", claim: Claim, confirmed_until: float) -> None:
        self._docket = docket
        self.claim = claim
        self.confirmed_until = confirmed_until
        """Until when, by the monotonic clock in seconds, the lease is known to hold."""
        self.task: asyncio.Task[None] | None = None
        self.begun = False
        """Whether its task has taken its first step; one that is cancelled before takes none."""
        self.stopped: Stop | None = None
        self.superseded = False
        self.phase = Phase.BODY
        self.again: Again | None = None
        self.successor: Task | None = None

    @property
    def token(self) -> int:
        return self.claim.token

    def stop(self, why: Stop) -> None:
        """Cancel the body, once; one that has not begun does not begin."""
        if self.stopped is None and (self.task is None or not self.task.done()):
            self.stopped = why
            self.superseded = self.superseded or why is Stop.LOST
            if self.task is not None and self.begun:
                self.task.cancel()

    def record_successor(self, execution: "Execution") -> None:
        """Let `execution` follow in the step that ends this run.

        Raises:
            RuntimeError: the run has not come to its hooks.
            InvalidInput: it would be due after the year 9999.
            Unserializable, PayloadTooLarge: its arguments cannot be encoded, or are too large.
        """
        due = execution.due
        check_due(due, self._docket.clock)
        when = due if isinstance(due, int) else None
        delay = to_micros(due) if isinstance(due, timedelta) else None
        if self.phase is Phase.FAILURE:
            self.again = Again(when, delay, execution.attempt)
        elif self.phase is Phase.COMPLETION:
            self.successor = self._as_task(execution, when, delay)
        else:
            raise RuntimeError(
                "a running task cannot be scheduled from its own body; let it return, or use Retry or Perpetual"
            )

    def _as_task(self, execution: "Execution", when: Micros | None, delay: Micros | None) -> Task:
        name = execution.function_name
        context = CodecContext(self._docket.name, execution.key, name)
        payload = encode_call(self._docket.codec, context, execution.args, execution.kwargs)
        check_size(f"payload of {name}", payload, self._docket.backend.capabilities.max_payload)
        run = execution.new_run() if execution.run == self.claim.run else execution.run
        headers = encode_headers(execution.trace_context or {})
        return Task(execution.key, name, payload, run, headers, when, delay)
