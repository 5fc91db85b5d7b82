"""Time on the seam: exact whole microseconds, and a clock that tests move by hand."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket_core import Cooldown, Cron, Debounce, Perpetual, RateLimit, Retry, Timeout
from docket_core.backend.clock import SECOND, SYSTEM_CLOCK, ManualClock, from_micros, to_micros

YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)
YEAR_9999 = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "micros"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), 1_709_208_000_000_000),
        (YEAR_1, -62_135_596_800_000_000),
        (YEAR_9999, 253_402_300_799_999_999),
    ],
)
def test_moments_are_exact(moment: datetime, micros: int) -> None:
    assert to_micros(moment) == micros
    assert from_micros(micros) == moment


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_moment_survives_the_way_there_and_back(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_the_time_zone_does_not_matter(moment: datetime) -> None:
    assert to_micros(moment) == to_micros(moment.astimezone(UTC))
    assert from_micros(to_micros(moment)).utcoffset() == timedelta(0)


def test_the_two_readings_of_a_repeated_hour_are_an_hour_apart() -> None:
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert to_micros(first.replace(fold=1)) - to_micros(first) == 3600 * SECOND


def test_an_hour_that_does_not_exist_is_taken() -> None:
    gap = datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert from_micros(to_micros(gap)) == datetime(2024, 3, 31, 1, 30, tzinfo=UTC)


def test_the_year_1_east_of_greenwich_is_taken() -> None:
    assert to_micros(YEAR_1.replace(tzinfo=timezone(timedelta(hours=1)))) == to_micros(YEAR_1) - 3600 * SECOND


@given(st.timedeltas())
def test_lengths_of_time_are_exact(delta: timedelta) -> None:
    assert timedelta(microseconds=to_micros(delta)) == delta


class Nowhere(tzinfo):
    """A time zone that does not know its offset: the datetime is as naive as without one."""

    def utcoffset(self, dt: datetime | None, /) -> None: ...

    def dst(self, dt: datetime | None, /) -> None: ...

    def tzname(self, dt: datetime | None, /) -> None: ...


@pytest.mark.parametrize("zone", [None, Nowhere()])
def test_a_naive_datetime_is_refused(zone: tzinfo | None) -> None:
    with pytest.raises(ValueError, match=r"no time zone; use an aware datetime, such as datetime\.now\(UTC\)"):
        to_micros(datetime(2030, 1, 1, tzinfo=zone))


async def test_the_system_clock_calls_back_and_not_before() -> None:
    called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    when = SYSTEM_CLOCK.now() + 2_000
    SYSTEM_CLOCK.call_at(when, lambda: called.set_result(SYSTEM_CLOCK.now()))
    assert await called >= when - 1_000  # the loop's timers have a resolution of their own


async def test_the_system_clock_calls_at_once_for_the_past() -> None:
    called = asyncio.Event()
    SYSTEM_CLOCK.call_at(0, called.set)
    await called.wait()


async def test_a_call_that_was_called_off_does_not_come() -> None:
    calls: list[str] = []
    done = asyncio.Event()
    SYSTEM_CLOCK.call_at(0, lambda: calls.append("called off")).cancel()
    SYSTEM_CLOCK.call_at(SYSTEM_CLOCK.now(), done.set)
    await done.wait()
    assert not calls


def test_the_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    assert clock.now() == to_micros(datetime(2030, 1, 1, tzinfo=UTC))
    clock.advance(timedelta(seconds=1))
    clock.advance(5)
    assert clock.now() == to_micros(datetime(2030, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    assert ManualClock(7).now() == 7


def test_due_calls_run_in_the_order_of_their_times_each_at_its_own() -> None:
    clock = ManualClock(0)
    calls: list[tuple[str, int]] = []

    def note(name: str) -> None:
        calls.append((name, clock.now()))

    for name, when in (("c", 30), ("a", 10), ("later", 41), ("b", 20), ("c, too", 30)):
        clock.call_at(when, partial(note, name))
    clock.advance(40)
    assert calls == [("a", 10), ("b", 20), ("c", 30), ("c, too", 30)]
    assert clock.now() == 40
    assert clock.next_call() == 41


def test_calls_that_were_called_off_are_passed_over() -> None:
    clock = ManualClock(0)
    calls: list[str] = []
    first = clock.call_at(10, lambda: calls.append("first"))
    clock.call_at(20, lambda: calls.append("second"))
    first.cancel()
    assert clock.next_call() == 20
    clock.advance(30)
    assert calls == ["second"]
    assert clock.next_call() is None


def test_a_call_may_arrange_the_next_one() -> None:
    clock = ManualClock(0)
    times: list[int] = []

    def tick() -> None:
        times.append(clock.now())
        if clock.now() < 30:
            clock.call_at(clock.now() + 10, tick)

    clock.call_at(10, tick)
    clock.advance(100)
    assert times == [10, 20, 30]


def test_going_backwards_is_allowed_and_runs_nothing() -> None:
    clock = ManualClock(100)
    calls: list[int] = []
    clock.call_at(110, lambda: calls.append(clock.now()))
    clock.advance(-50)
    assert (clock.now(), calls) == (50, [])
    clock.set(109)
    assert calls == []
    clock.set(200)
    assert calls == [110]


async def test_a_call_for_the_past_runs_at_the_loops_next_turn() -> None:
    clock = ManualClock(100)
    called = asyncio.Event()
    clock.call_at(50, called.set)
    assert not called.is_set()
    await called.wait()
    assert clock.now() == 100


NO_LENGTHS: list[tuple[Callable[[Any], object], object, str]] = [
    (Timeout, 5, r"a timeout is given as timedelta\(seconds=5\), not as 5"),
    (lambda length: RateLimit(2, per=length), 3, "the window of a rate limit is given as"),
    (Cooldown, 3, "the window of a cooldown is given as"),
    (Debounce, 3, "the time to settle is given as"),
    (lambda length: Retry(delay=length), 3.5, "a delay is given as"),
    (lambda length: Perpetual(every=length), "5s", "`every` is given as"),
    (lambda zone: Cron("@daily", tz=zone), "Europe/Paris", r"`tz` is given as a time zone, such as ZoneInfo"),
    (to_micros, 5, r"a time is given as timedelta\(seconds=5\) or datetime.now\(UTC\), not as 5"),
    (to_micros, "tomorrow", "a time is given as"),
]


@pytest.mark.parametrize(("take", "value", "message"), NO_LENGTHS)
def test_what_is_no_time_is_refused_by_name(take: Callable[[Any], object], value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        take(value)
