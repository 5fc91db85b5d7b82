"""A task's own progress."""

from typing import cast

from uncalled_for import Dependency

from docket_core.dependencies.base import current_execution
from docket_core.progress import ExecutionProgress


class _Progress(Dependency[ExecutionProgress]):
    async def __aenter__(self) -> ExecutionProgress:
        return current_execution.get().progress


def Progress() -> ExecutionProgress:  # noqa: N802 - declared like a class, as the default of a parameter
    """The task's progress: `async def load(path: str, progress: ExecutionProgress = Progress()) -> None`."""
    return cast("ExecutionProgress", _Progress())
