"""Trying again after a failure."""

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NoReturn, Self

from docket_core.backend.clock import check_kind, to_micros
from docket_core.dependencies.base import FailureHandler, TaskOutcome, current_execution

if TYPE_CHECKING:
    from docket_core.execution import Execution


class ForcedRetry(Exception):
    """Raised by a task, through its `Retry`, to be tried again at a time of its choice."""

    def __init__(self, due: datetime | timedelta) -> None:
        super().__init__(due)
        self.due = due

    def __str__(self) -> str:
        return f"the task asks to be tried again: {self.due}"


class Retry(FailureHandler["Retry"]):
    """Tries a failed task again: `async def send(to: str, retry: Retry = Retry(attempts=3)) -> None`.

    Args:
        attempts: how often it is tried in total; None is without end.
        delay: how long after a failure.
        jitter: the share of the delay, from 0 to 1, that is random, so that many tasks do not return at once.
        on: which exceptions are tried again; others fail at once.

    Raises:
        ValueError: fewer than one attempt, a negative delay, or a jitter outside 0 to 1.
    """

    def __init__(
        self,
        attempts: int | None = 1,
        delay: timedelta = timedelta(0),
        jitter: float = 0.0,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> None:
        if attempts is not None and attempts < 1:
            raise ValueError(f"a task is tried at least once, not {attempts} times; None is without end")
        check_kind("a delay", delay)
        if delay < timedelta(0) or not 0 <= jitter <= 1:
            raise ValueError(f"a delay is not negative and a jitter lies between 0 and 1, not {delay} and {jitter}")
        self.attempts = attempts
        self.delay = delay
        self.jitter = jitter
        self.on = on
        self.attempt = 1
        """Which attempt this run is."""

    @classmethod
    def forever(cls, delay: timedelta = timedelta(0)) -> Self:
        """Try again without end."""
        return cls(attempts=None, delay=delay)

    async def __aenter__(self) -> "Retry":
        bound = self._copy()
        bound.attempt = current_execution.get().attempt
        return bound

    def _copy(self) -> "Retry":
        return Retry(self.attempts, self.delay, self.jitter, self.on)

    def after(self, delay: timedelta) -> NoReturn:
        """End this run, and be tried again after `delay`, if there are attempts left."""
        raise ForcedRetry(delay)

    def at(self, when: datetime) -> NoReturn:
        """End this run, and be tried again at `when`, an aware datetime, if there are attempts left.

        Raises:
            ValueError: `when` is naive.
        """
        to_micros(when)
        raise ForcedRetry(when)

    def in_(self, delay: timedelta) -> NoReturn:
        """The same as `after`."""
        raise ForcedRetry(delay)

    def delay_after(self, attempt: int) -> timedelta:
        """How long to wait after the failure of this attempt, before jitter."""
        del attempt
        return self.delay

    async def handle_failure(self, execution: "Execution", outcome: TaskOutcome) -> bool:
        """Record the next attempt, if there is one."""
        if self.attempts is not None and execution.attempt >= self.attempts:
            return False
        error = outcome.exception
        if isinstance(error, ForcedRetry):
            execution.when = error.due
        elif isinstance(error, self.on):
            delay = self.delay_after(execution.attempt)
            execution.when = delay * (1 - self.jitter * random.random())
        else:
            return False
        execution.attempt += 1
        await execution.schedule(replace=True)
        return True


class ExponentialRetry(Retry):
    """As `Retry`, with delays that double from `minimum_delay` to `maximum_delay`.

    Args:
        attempts: how often it is tried in total; None is without end.
        minimum_delay: how long after the first failure.
        maximum_delay: the longest delay.
        jitter: the share of each delay, from 0 to 1, that is random.
        on: which exceptions are tried again; others fail at once.
    """

    def __init__(
        self,
        attempts: int | None = 1,
        minimum_delay: timedelta = timedelta(seconds=1),
        maximum_delay: timedelta = timedelta(seconds=64),
        jitter: float = 0.0,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> None:
        super().__init__(attempts, minimum_delay, jitter, on)
        self.minimum_delay = minimum_delay
        self.maximum_delay = maximum_delay

    @classmethod
    def forever(cls, delay: timedelta = timedelta(seconds=1), maximum_delay: timedelta = timedelta(seconds=64)) -> Self:
        """Try again without end, with delays from `delay` to `maximum_delay`."""
        return cls(attempts=None, minimum_delay=delay, maximum_delay=maximum_delay)

    def _copy(self) -> "ExponentialRetry":
        return ExponentialRetry(self.attempts, self.minimum_delay, self.maximum_delay, self.jitter, self.on)

    def delay_after(self, attempt: int) -> timedelta:
        delay = self.minimum_delay
        while attempt > 1 and delay < self.maximum_delay:
            delay, attempt = delay * 2, attempt - 1
        return min(delay, self.maximum_delay)
