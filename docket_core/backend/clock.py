"""Time as the seam sees it: whole microseconds since the Unix epoch, and a way to be called later.

Integers compare exactly, need no time zone and are what every store keeps. The API above the seam
speaks `datetime` and `timedelta`; `to_micros` and `from_micros` are the only bridges.
"""

import asyncio
import heapq
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

Micros = int
"""Microseconds: since 1970-01-01T00:00:00Z for a moment, or a length of time."""

SECOND: Micros = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(value: datetime | timedelta) -> Micros:
    """An aware datetime as microseconds since the epoch, or a timedelta as microseconds.

    Raises:
        ValueError: the datetime is naive; which instant it means is not known.
        TypeError: it is neither.
    """
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    check_kind("a time", value, datetime)
    if value.utcoffset() is None:
        raise ValueError(f"{value!r} has no time zone; use an aware datetime, such as datetime.now(UTC)")
    return (value - _EPOCH) // _MICROSECOND


_EXAMPLES = {timedelta: "timedelta(seconds=5)", datetime: "timedelta(seconds=5) or datetime.now(UTC)"}


def check_kind(what: str, value: object, kind: type[datetime | timedelta] = timedelta) -> None:
    """Refuse what is no time, such as a number.

    Raises:
        TypeError: it says what to give.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{what} is given as {_EXAMPLES[kind]}, not as {value!r}")


def from_micros(value: Micros) -> datetime:
    """The moment `value` microseconds after the epoch, in UTC."""
    return _EPOCH + timedelta(microseconds=value)


class Handle(Protocol):
    """A call that has been arranged and can be called off."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where a backend or a worker gets its time from; tests give one that they move by hand."""

    def now(self) -> Micros:
        """The present moment."""
        ...

    def call_at(self, when: Micros, callback: Callable[[], None]) -> Handle:
        """Arrange for `callback` on the running event loop once `now() >= when`."""
        ...


class SystemClock:
    """The clock of this machine, and the running event loop's timers."""

    def now(self) -> Micros:
        return time.time_ns() // 1000

    def call_at(self, when: Micros, callback: Callable[[], None]) -> Handle:
        return asyncio.get_running_loop().call_later(max(0.0, (when - self.now()) / SECOND), callback)


SYSTEM_CLOCK = SystemClock()


def stopwatch(clock: Clock) -> float:
    """Start to measure: what `elapsed` is to be given."""
    return time.perf_counter() if isinstance(clock, SystemClock) else clock.now()


def elapsed(clock: Clock, since: float) -> timedelta:
    """How long it has been since `stopwatch`, though this machine's time is set meanwhile."""
    if isinstance(clock, SystemClock):
        return timedelta(seconds=time.perf_counter() - since)
    return timedelta(microseconds=clock.now() - since)


background: ContextVar[bool] = ContextVar("docket_core_background", default=False)
"""True where timers only guard or tidy up (heartbeats, safety nets): a clock that moves by itself does not move for
them, and they fire when it has moved for another reason."""
guarding: ContextVar[bool] = ContextVar("docket_core_guarding", default=False)
"""True where timers guard something that must not be passed over (renewals of leases that are held): a clock that moves
by itself does not move for them, but stops at each when it moves for another reason."""


class ManualClock:
    """A clock that stands still until a test moves it; calls that have become due run at once.

    It belongs to one event loop. `advance` runs the due callbacks in the order of their times, each
    at its own time, and gives no other task a turn.
    """

    def __init__(self, start: datetime | Micros = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now = start if isinstance(start, int) else to_micros(start)
        self._calls: list[tuple[Micros, int, _ManualCall]] = []
        self._order = count()

    def now(self) -> Micros:
        return self._now

    def call_at(self, when: Micros, callback: Callable[[], None]) -> Handle:
        call = _ManualCall(callback)
        heapq.heappush(self._calls, (max(when, self._now), next(self._order), call))
        if when <= self._now:
            asyncio.get_running_loop().call_soon(self._run_due)
        return call

    def next_call(self) -> Micros | None:
        """When the next arranged call is due; None if there is none."""
        while self._calls and self._calls[0][2].cancelled:
            heapq.heappop(self._calls)
        return self._calls[0][0] if self._calls else None

    def advance(self, delta: timedelta | Micros) -> None:
        """Move the time on by `delta` and run what becomes due on the way."""
        self.set(self._now + (delta if isinstance(delta, int) else to_micros(delta)))

    def set(self, moment: Micros) -> None:
        """Move the time to `moment`; backwards is allowed, and runs nothing."""
        while (due := self.next_call()) is not None and due <= moment:
            self._now = max(self._now, due)
            self._run_due()
        self._now = moment

    def _run_due(self) -> None:
        while (due := self.next_call()) is not None and due <= self._now:
            heapq.heappop(self._calls)[2].callback()


class _ManualCall:
    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
