"""The helpers for authors of backends: pauses, waiting, translated errors, option parsers."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket_core.backend import kit
from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.model import Task
from docket_core.errors import BackendUnavailable, DocketError, Overloaded


@pytest.mark.parametrize(
    ("deliveries", "seconds"),
    [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 32), (8, 60), (9, 60), (100, 60), (10**9, 60)],
)
def test_the_pause_before_a_recovery(deliveries: int, seconds: int) -> None:
    assert kit.recovery_delay(deliveries, None) == seconds * SECOND


@given(deliveries=st.integers(1, 100), most=st.integers(1, 100))
def test_the_end_of_a_poisoned_task_is_not_delayed(deliveries: int, most: int) -> None:
    expected = 0 if deliveries >= most else kit.recovery_delay(deliveries, None)
    assert kit.recovery_delay(deliveries, most) == expected


@given(length=st.integers(0, 10**15), share=st.floats(0, 1))
def test_jitter_only_shortens_and_by_no_more_than_its_share(length: int, share: float) -> None:
    assert length * (1 - share) - 1 <= kit.jittered(length, share) <= length


def test_jitter_spreads() -> None:
    assert len({kit.jittered(SECOND) for _ in range(50)}) > 25


@given(attempt=st.integers(1, 10**6), first=st.integers(1, 10**9), factor=st.integers(1, 10**6))
def test_backoff_doubles_to_its_cap_and_half_of_it_is_random(attempt: int, first: int, factor: int) -> None:
    cap = first * factor
    full = min(cap, first * 2 ** min(attempt - 1, 60))
    assert full // 2 <= kit.backoff(attempt, first, cap) <= full


def test_when_a_task_is_due() -> None:
    task = Task("k", "f", b"", "r")
    assert kit.due(task, 100) == 100
    assert kit.due(task._replace(delay=5), 100) == 105
    assert kit.due(task._replace(when=7), 100) == 7
    assert kit.due(task._replace(when=7, delay=5), 100) == 7
    assert kit.due(task._replace(when=0), 100) == 0


async def turns(count: int = 5) -> None:
    """Give the other tasks of the loop a few turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_sleep_lasts_as_long_as_the_clock_says() -> None:
    clock = ManualClock(0)
    sleeping = asyncio.create_task(kit.sleep(clock, 3 * SECOND))
    await turns()
    clock.advance(3 * SECOND - 1)
    await turns()
    assert not sleeping.done()
    clock.advance(1)
    await sleeping


async def test_a_cancelled_sleep_leaves_no_call_behind() -> None:
    clock = ManualClock(0)
    sleeping = asyncio.create_task(kit.sleep(clock, SECOND))
    await turns()
    assert clock.next_call() == SECOND
    sleeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sleeping
    assert clock.next_call() is None


async def test_waiting_ends_at_once_if_the_event_is_set() -> None:
    event = asyncio.Event()
    event.set()
    clock = ManualClock(0)
    await kit.wait_for_event(event, clock, None)
    assert clock.next_call() is None


@pytest.mark.parametrize(("until", "earliest", "latest"), [(SECOND, SECOND, SECOND), (None, 1_800_000, 2_000_000)])
async def test_waiting_ends_at_its_time_and_after_two_seconds_at_most(
    until: int | None, earliest: int, latest: int
) -> None:
    clock = ManualClock(0)
    waiting = asyncio.create_task(kit.wait_for_event(asyncio.Event(), clock, until))
    await turns()
    due = clock.next_call()
    assert due is not None
    assert earliest <= due <= latest
    clock.advance(due)
    await waiting


async def test_waiting_until_far_away_ends_after_two_seconds() -> None:
    clock = ManualClock(0)
    waiting = asyncio.create_task(kit.wait_for_event(asyncio.Event(), clock, 3600 * SECOND))
    await turns()
    clock.advance(kit.MAX_WAIT)
    await waiting


@pytest.mark.parametrize(("looked", "latest"), [(-SECOND, SECOND), (0, 2 * SECOND), (3600 * SECOND, 2 * SECOND)])
async def test_two_seconds_count_from_the_last_look_but_never_from_ahead(looked: int, latest: int) -> None:
    clock = ManualClock(0)
    waiting = asyncio.create_task(kit.wait_for_event(asyncio.Event(), clock, None, looked))
    await turns()
    due = clock.next_call()
    assert due is not None
    assert latest - 200_000 <= due <= latest
    clock.advance(due)
    await waiting


async def test_waiting_ends_when_the_event_is_set_and_leaves_no_call_behind() -> None:
    clock, event = ManualClock(0), asyncio.Event()
    waiting = asyncio.create_task(kit.wait_for_event(event, clock, None))
    await turns()
    event.set()
    await waiting
    assert clock.next_call() is None


def translate(error: BaseException) -> DocketError | None:
    return BackendUnavailable("the store is away") if isinstance(error, OSError) else None


def test_a_drivers_error_is_translated_and_chained() -> None:
    cause = ConnectionResetError("by peer")
    with pytest.raises(BackendUnavailable, match="away") as caught, kit.translated(translate):
        raise cause
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("error", [Overloaded("full"), KeyError("a bug"), asyncio.CancelledError()])
def test_what_is_no_drivers_error_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, kit.translated(translate):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (kit.whole_number(), "0", 0),
        (kit.whole_number(1, 9), "9", 9),
        (kit.whole_number(-5), "-5", -5),
        (kit.one_of("full", "normal"), "FULL", "full"),
        (kit.switch, "true", True),
        (kit.switch, "On", True),
        (kit.switch, "1", True),
        (kit.switch, "no", False),
        (kit.switch, "0", False),
    ],
)
def test_options_that_are_understood(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (kit.whole_number(), "-1", "'-1' is not a whole number of at least 0"),
        (kit.whole_number(1, 9), "10", "'10' is not a whole number from 1 to 9"),
        (kit.whole_number(-5), "--5", "'--5' is not a whole number"),
        (kit.whole_number(), "", "'' is not a whole number"),
        (kit.whole_number(), "1.5", "'1.5' is not a whole number"),
        (kit.whole_number(), " 1", "' 1' is not a whole number"),
        (kit.whole_number(), "1_000", "'1_000' is not a whole number"),
        (kit.whole_number(), "٣", "is not a whole number"),
        (kit.whole_number(), "9" * 5000, "is not a whole number"),
        (kit.one_of("full", "normal"), "off", "'off' is none of full, normal"),
        (kit.switch, "maybe", "'maybe' is neither true nor false"),
    ],
)
def test_options_that_are_not_understood(parse: Callable[[str], object], text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)
