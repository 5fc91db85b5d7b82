"""Dependencies that are resolved around every task of a worker."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from uncalled_for import Dependency


def around_function(
    dependencies: Mapping[str, Dependency[Any]] | Sequence[Dependency[Any]] | None,
) -> Callable[..., Any] | None:
    """A function that declares these dependencies, so that they are resolved as a task's own are."""
    if not dependencies:
        return None
    named = dependencies if isinstance(dependencies, Mapping) else {f"_{i}": d for i, d in enumerate(dependencies)}

    def around() -> None:
        """Declares the worker-wide dependencies."""

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=dependency)
        for name, dependency in named.items()
    ]
    around.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return around
