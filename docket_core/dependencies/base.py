"""The kinds of dependencies: what a task function may declare beside its arguments."""

import abc
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from uncalled_for import Dependency

from docket_core.backend.model import PermitRequest

if TYPE_CHECKING:
    from docket_core.docket import Docket
    from docket_core.execution import Execution
    from docket_core.worker.worker import Worker

T_co = TypeVar("T_co", covariant=True)

current_docket: ContextVar["Docket"] = ContextVar("docket_core_docket")
"""The docket of the task that runs in this context."""
current_worker: ContextVar["Worker"] = ContextVar("docket_core_worker")
"""The worker of the task that runs in this context."""
current_execution: ContextVar["Execution"] = ContextVar("docket_core_execution")
"""The execution of the task that runs in this context."""


@dataclass(frozen=True)
class TaskOutcome:
    """How a run went."""

    duration: timedelta
    """From before its dependencies were resolved to the end of its body."""
    result: Any = None
    exception: BaseException | None = None


class AdmissionBlocked(Exception):
    """Raised by a dependency while it is resolved: this run must not start now.

    Args:
        execution: what was blocked.
        reason: why, in a word or two.
        reschedule: try again later; otherwise the run ends CANCELLED, and a chain goes on.
        retry_delay: how much later; None is the worker's own short delay.
        park: the denied permit request to wait for, in place of a delay.
    """

    def __init__(
        self,
        execution: "Execution",
        reason: str = "admission blocked",
        reschedule: bool = True,
        retry_delay: timedelta | None = None,
        park: PermitRequest | None = None,
    ) -> None:
        super().__init__(f"{execution.key!r} was not admitted: {reason}")
        self.execution = execution
        self.reason = reason
        self.reschedule = reschedule
        self.retry_delay = retry_delay
        self.park = park


class Runtime(Dependency[T_co]):
    """Decides how the body of a task is run; at most one per task."""

    single = True

    @abc.abstractmethod
    async def run(
        self, execution: "Execution", function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Run the body, `await function(*args, **kwargs)`, and return its result."""


class FailureHandler(Dependency[T_co]):
    """Decides what follows on a failure; at most one per task."""

    single = True

    @abc.abstractmethod
    async def handle_failure(self, execution: "Execution", outcome: TaskOutcome) -> bool:
        """Called once a run has failed, before its end is recorded.

        To have it run again, set `execution.when` and `execution.attempt` and call `await execution.schedule()`:
        it is recorded in the same step that ends this run.

        Returns whether it was handled: then no error is logged. The failure is recorded all the same, unless
        it is to run again.
        """


class CompletionHandler(Dependency[T_co]):
    """Decides what follows on the end of a task, however it ended; at most one per task."""

    single = True

    @abc.abstractmethod
    async def on_complete(self, execution: "Execution", outcome: TaskOutcome) -> bool:
        """Called once a run has ended for good (a run that is tried again has not), before that is recorded.

        `await execution.schedule()`, or of another execution with the same key, makes it go on in the same step.
        Adds and replaces of other keys happen at once.

        Returns whether it was handled: then no end is logged.
        """
