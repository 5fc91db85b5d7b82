"""Where a task stands: the docket, worker and execution it runs in, its key, arguments and logger."""

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, cast

from uncalled_for import Dependency

from docket_core.dependencies.base import current_docket, current_execution, current_worker

if TYPE_CHECKING:
    from docket_core.docket import Docket
    from docket_core.execution import Execution
    from docket_core.worker.worker import Worker


class _CurrentDocket(Dependency["Docket"]):
    async def __aenter__(self) -> "Docket":
        return current_docket.get()


class _CurrentWorker(Dependency["Worker"]):
    async def __aenter__(self) -> "Worker":
        return current_worker.get()


class _CurrentExecution(Dependency["Execution"]):
    async def __aenter__(self) -> "Execution":
        return current_execution.get()


class _TaskKey(Dependency[str]):
    async def __aenter__(self) -> str:
        return current_execution.get().key


class _TaskLogger(Dependency["logging.LoggerAdapter[logging.Logger]"]):
    async def __aenter__(self) -> "logging.LoggerAdapter[logging.Logger]":
        execution = current_execution.get()
        labels = current_docket.get().labels() | execution.specific_labels()
        return _LabelledLogger(logging.getLogger(f"docket.task.{execution.function_name}"), labels)


class _LabelledLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the task's labels to every record, beside what the caller adds."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class _TaskArgument(Dependency[Any]):
    def __init__(self, parameter: str | None, optional: bool) -> None:
        self._parameter = parameter
        self._optional = optional

    def for_parameter(self, name: str) -> "_TaskArgument":
        return self if self._parameter is not None else _TaskArgument(name, self._optional)

    async def __aenter__(self) -> Any:
        name = self._parameter
        if name is None:
            raise ValueError("TaskArgument stands where it has no parameter; name one: TaskArgument('customer')")
        try:
            return current_execution.get().get_argument(name)
        except KeyError:
            if self._optional:
                return None
            raise


def CurrentDocket() -> "Docket":  # noqa: N802 - declared like a class, as the default of a parameter
    """The docket that the task belongs to."""
    return cast("Docket", _CurrentDocket())


def CurrentWorker() -> "Worker":  # noqa: N802
    """The worker that runs the task."""
    return cast("Worker", _CurrentWorker())


def CurrentExecution() -> "Execution":  # noqa: N802
    """The task's own execution."""
    return cast("Execution", _CurrentExecution())


def TaskKey() -> str:  # noqa: N802
    """The task's key."""
    return cast("str", _TaskKey())


def TaskLogger() -> "logging.LoggerAdapter[logging.Logger]":  # noqa: N802
    """A logger whose records carry the task's labels."""
    return cast("logging.LoggerAdapter[logging.Logger]", _TaskLogger())


def TaskArgument(parameter: str | None = None, optional: bool = False) -> Any:  # noqa: N802
    """An argument of the task, inside a dependency: `def customer(id: int = TaskArgument("customer_id"))`.

    Args:
        parameter: the task's parameter; None is the one of the same name.
        optional: None in place of an error where the task has no such argument.
    """
    return _TaskArgument(parameter, optional)


__all__ = [
    "CurrentDocket",
    "CurrentExecution",
    "CurrentWorker",
    "TaskArgument",
    "TaskKey",
    "TaskLogger",
]
