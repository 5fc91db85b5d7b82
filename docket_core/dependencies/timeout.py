"""A bound on how long a task may run."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from docket_core.backend.clock import Handle, Micros, check_kind, from_micros, to_micros
from docket_core.dependencies.base import Runtime, current_docket

if TYPE_CHECKING:
    from docket_core.execution import Execution


class Timeout(Runtime["Timeout"]):
    """Cancels the body of a task that runs too long; it then fails with TimeoutError.

    `async def fetch(url: str, timeout: Timeout = Timeout(timedelta(seconds=20))) -> None`

    A body that is not async runs in a thread, and a thread cannot be stopped: the task fails in time all the same, but
    its thread goes on to the end of the body and holds its place in the worker's pool. Such a body asks `expired`.

    Args:
        base: how long it may run.

    Raises:
        ValueError: `base` is not positive.
    """

    def __init__(self, base: timedelta) -> None:
        check_kind("a timeout", base)
        if base <= timedelta(0):
            raise ValueError(f"a timeout is positive, not {base}")
        self.base = base
        self._deadline: Micros | None = None
        self._task: asyncio.Task[Any] | None = None
        self._timer: Handle | None = None
        self._fired = False

    async def __aenter__(self) -> "Timeout":
        return Timeout(self.base)

    def bind_to_parameter(self, name: str, value: Any) -> "Timeout":
        """In an annotation it is the run's own as well."""
        return Timeout(self.base)

    def start(self) -> None:
        """Let the time run from now; the worker does so before the body."""
        self._deadline = self._now() + to_micros(self.base)
        self._arm()

    def expired(self) -> bool:
        """Whether the time is over."""
        return self._deadline is not None and self._now() >= self._deadline

    def remaining(self) -> timedelta:
        """How much time is left; negative once it is over."""
        if self._deadline is None:
            return self.base
        return from_micros(self._deadline) - from_micros(self._now())

    def extend(self, by: timedelta | None = None) -> None:
        """Give it more time: `by`, or the base once more."""
        if self._deadline is None:
            self.start()
            return
        self._deadline += to_micros(by if by is not None else self.base)
        self._arm()

    async def run(
        self, execution: "Execution", function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        """Run the body; raises TimeoutError in place of its cancellation if the time was over."""
        self._task = asyncio.current_task()
        self.start()
        try:
            return await function(*args, **kwargs)
        except asyncio.CancelledError:
            task = self._task
            if self._fired and task is not None and task.uncancel() <= 0:
                raise TimeoutError(f"{execution.function_name} ran longer than its timeout of {self.base}") from None
            raise
        finally:
            self._disarm()
            self._task = None

    def _arm(self) -> None:
        self._disarm()
        if self._deadline is not None and self._task is not None:
            self._timer = current_docket.get().clock.call_at(self._deadline, self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        if self._task is not None and not self._fired:
            self._fired = True
            self._task.cancel()

    def _now(self) -> Micros:
        return current_docket.get().clock.now()
