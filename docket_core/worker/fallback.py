"""What to do with tasks that nobody here knows, where the user wants something done."""

import importlib
from typing import Any

from docket_core.dependencies.base import current_execution
from docket_core.errors import ConfigurationError
from docket_core.functions import AnyFunction, TaskFunction
from docket_core.logs import get_logger

logger = get_logger("docket_core.worker")


async def default_fallback_task(*args: Any, **kwargs: Any) -> None:
    """Log the unknown task and drop it."""
    del args, kwargs
    execution = current_execution.get()
    logger.warning("dropped the task %r: nobody here knows the function %s", execution.key, execution.function_name)


def as_fallback(task: AnyFunction | str) -> TaskFunction:
    """The fallback, from a function or from "module:function".

    Raises:
        ConfigurationError: the text leads to no function.
    """
    if not isinstance(task, str):
        return TaskFunction(getattr(task, "__name__", "fallback"), task)
    module_name, colon, attribute = task.partition(":")
    if not colon:
        raise ConfigurationError(f"{task!r} is no path to a function; it has the form package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigurationError(f"the fallback task {task!r} cannot be found: {error}") from error
    return TaskFunction(attribute, function)
