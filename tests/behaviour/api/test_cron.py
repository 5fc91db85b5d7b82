"""Tasks by the calendar: their times, time zones, changes of the clocks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from docket_core import Cron, CurrentExecution, Docket, Execution, Worker
from docket_core.backend.clock import SECOND
from docket_core.backend.kit import sleep
from docket_core.backend.model import Enqueued, OnConflict, Task
from docket_core.testing import AutoClock
from docket_core.worker.services import RESEED_INTERVAL
from tests.support.moments import SETTLE, Log
from tests.support.urls import Store
from tests.support.workers import Signal, within

HOUR = timedelta(hours=1)
PARIS = ZoneInfo("Europe/Paris")
NEW_YORK = ZoneInfo("America/New_York")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(cron: Cron, start: str, how_many: int) -> list[str]:
    """The next times, in UTC."""
    found: list[str] = []
    moment = utc(start)
    for _ in range(how_many):
        moment = cron.next_after(moment)
        found.append(moment.strftime("%m-%d %H:%M"))
    return found


@pytest.mark.requirement("R-047")
@pytest.mark.parametrize(
    ("what", "cron", "start", "expected"),
    [
        ("summer and winter", Cron("0 9 * * *", tz=PARIS), "2030-03-30", ["03-30 08:00", "03-31 07:00", "04-01 07:00"]),
        ("back in autumn", Cron("0 9 * * *", tz=PARIS), "2030-10-26", ["10-26 07:00", "10-27 08:00", "10-28 08:00"]),
        ("west of UTC", Cron("0 20 * * *", tz=NEW_YORK), "2030-03-09", ["03-09 01:00", "03-10 01:00", "03-11 00:00"]),
        ("in the missing hour: right after it", Cron("30 2 * * *", tz=PARIS), "2030-03-30T12:00", ["03-31 01:00"]),
        (
            "in the repeated hour: once",
            Cron("30 2 * * *", tz=PARIS),
            "2030-10-26T12:00",
            ["10-27 00:30", "10-28 01:30"],
        ),
        (
            "every half hour, through the repeated hour",
            Cron("*/30 * * * *", tz=PARIS),
            "2030-10-26T23:55",
            ["10-27 00:00", "10-27 00:30", "10-27 01:00", "10-27 01:30", "10-27 02:00"],
        ),
        (
            "every half hour, through the missing hour",
            Cron("*/30 * * * *", tz=PARIS),
            "2030-03-31T00:25",
            ["03-31 00:30", "03-31 01:00", "03-31 01:30"],
        ),
        ("weekdays", Cron("0 0 * * MON-FRI"), "2030-01-03T12:00", ["01-04 00:00", "01-07 00:00"]),
        ("a leap day", Cron("0 0 29 2 *"), "2030-01-01", ["02-29 00:00"]),
    ],
)
def test_times(what: str, cron: Cron, start: str, expected: list[str]) -> None:
    assert times(cron, start, len(expected)) == expected, what


@pytest.mark.requirement("R-048")
@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("@hourly", "2030-05-15T11:00"),
        ("@daily", "2030-05-16"),
        ("@midnight", "2030-05-16"),
        ("@weekly", "2030-05-19"),
        ("@monthly", "2030-06-01"),
        ("@yearly", "2031-01-01"),
        ("@annually", "2031-01-01"),
        ("@DAILY", "2030-05-16"),
    ],
)
def test_words(word: str, first: str) -> None:
    assert Cron(word).next_after(utc("2030-05-15T10:30")) == utc(first)


@pytest.mark.requirement("R-048")
@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@never", "nor is it one of @yearly"),
        ("61 * * * *", "cannot be used: Bad minute"),
        ("* * * * X", "cannot be used"),
        ("0 0 30 2 *", "cannot be used"),
    ],
)
def test_what_is_no_expression_is_refused_when_it_is_written(expression: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Cron(expression)


@pytest.mark.usefixtures("untraced")
@pytest.mark.requirement("R-049", "R-077")
async def test_a_year_of_hours(store: Store, docket_url: str) -> None:
    """Through both changes of the clocks; a shorter span through one of them where every step is written to a disk."""
    start = utc("2030-03-25")
    hours = 24 * (10 if store.capabilities.durable else 365)
    expected = [start + number * HOUR for number in range(1, hours + 1)]
    fired: list[datetime] = []
    due: list[datetime] = []
    done = Signal()

    async def hourly(cron: Cron = Cron("0 * * * *", tz=PARIS), execution: Execution = CurrentExecution()) -> None:
        due.append(execution.when)
        fired.append(datetime.fromtimestamp(clock.now() / 1_000_000, UTC))
        if len(fired) == hours:
            done.give()

    async with (
        AutoClock(start, settle=SETTLE.get(store.name, 0.0)) as clock,
        Docket("calendar", docket_url, clock=clock) as docket,
    ):
        docket.register(hourly)
        async with Worker(docket) as worker:
            await within(worker.run_at_most({"hourly": hours}), seconds=280)
    assert due == expected
    assert fired == expected
    assert done.given


@pytest.mark.requirement("R-047")
async def test_times_that_pass_during_a_run_are_left_out(moving: Docket, auto: AutoClock) -> None:
    log = Log(moving)

    async def slow(cron: Cron = Cron("*/2 * * * *")) -> None:
        log.note("started")
        if len(log.notes) == 1:
            await sleep(auto, 5 * 60 * SECOND + 1)

    moving.register(slow)
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"slow": 3}))
    assert log.notes == [(2 * 60, "started"), (8 * 60, "started"), (10 * 60, "started")]


@pytest.mark.requirement("R-047")
async def test_a_run_that_came_late_is_followed_by_the_next_time(moving: Docket, auto: AutoClock) -> None:
    """No worker for three hours: one run makes up for all of them."""
    started: list[float] = []
    begun = auto.now()

    async def hourly(cron: Cron = Cron("@hourly")) -> None:
        started.append((auto.now() - begun) / 3_600_000_000)

    await moving.add(hourly, when=HOUR, key="hourly")()
    auto.advance(timedelta(hours=3, minutes=30))
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"hourly": 3}))
    assert started == [3.5, 4, 5]


@pytest.mark.requirement("R-047")
async def test_one_that_has_run_as_often_as_it_was_to_is_not_begun_anew(moving: Docket, auto: AutoClock) -> None:
    """Though its worker goes on with something else, and looks every ten seconds for chains that were severed."""
    started: list[int] = []

    async def minutely(cron: Cron = Cron("* * * * *")) -> None:
        started.append(auto.now())

    async def long() -> None:
        for _ in range(18):
            await sleep(auto, 10 * SECOND)

    moving.register(minutely)
    await moving.add(long)()
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"minutely": 1}))
    assert len(started) == 1


@pytest.mark.requirement("R-047")
async def test_nor_by_a_look_that_the_store_comes_to_after_its_last_run(
    moving: Docket, auto: AutoClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Execution] = []
    looks, let_go = 0, Signal()
    schedule = moving.backend.schedule

    async def slow(tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        nonlocal looks
        looks += tasks[0].key == "minutely"
        if looks == 2:
            await let_go.seen()
        return await schedule(tasks, on_conflict)

    async def minutely(execution: Execution = CurrentExecution(), cron: Cron = Cron("* * * * *")) -> None:
        started.append(execution)

    async def long() -> None:
        while not started:
            await sleep(auto, 2 * RESEED_INTERVAL)
        await started[0].get_result()
        let_go.give()
        await sleep(auto, 2 * 60 * SECOND)

    monkeypatch.setattr(moving.backend, "schedule", slow)
    moving.register(minutely)
    await moving.add(long)()
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"minutely": 1}))
    assert len(started) == 1


@pytest.mark.requirement("R-047")
async def test_one_that_is_not_automatic_waits_to_be_added(moving: Docket, auto: AutoClock) -> None:
    ran: list[datetime] = []

    async def manual(cron: Cron = Cron("@hourly", automatic=False), execution: Execution = CurrentExecution()) -> None:
        ran.append(execution.when)

    moving.register(manual)
    async with Worker(moving) as worker:
        await within(worker.run_until_finished())
        assert ran == []
        await moving.add(manual, key="manual")()
        await within(worker.run_at_most({"manual": 2}))
    assert [moment.minute for moment in ran] == [0, 0]
    assert len(ran) == 2
