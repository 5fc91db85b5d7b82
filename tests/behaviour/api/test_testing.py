"""What tests of applications stand on: assertions, a clock that moves by itself, the standard tasks."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from docket_core import Docket, ExecutionState
from docket_core.backend.kit import sleep
from docket_core.tasks import fail, standard_tasks, trace
from docket_core.tasks import sleep as sleep_task
from docket_core.testing import (
    AutoClock,
    assert_no_tasks,
    assert_task_count,
    assert_task_not_scheduled,
    assert_task_scheduled,
)
from tests.support.moments import Log
from tests.support.workers import within, work_off, working

HOUR = timedelta(hours=1)


async def send(to: str, copies: int = 1) -> None: ...


async def tidy() -> None: ...


@pytest.mark.requirement("R-076")
async def test_pending_tasks_are_found(docket: Docket) -> None:
    docket.register(send)
    docket.register(tidy)
    await assert_no_tasks(docket)
    await docket.add(send, key="first")("ann", copies=2)
    await docket.add(send, when=HOUR)("bob")
    found = await assert_task_scheduled(docket, send, args=("ann",), kwargs={"copies": 2}, key="first")
    assert found.key == "first"
    await assert_task_scheduled(docket, "send", args=("bob",), kwargs={})
    await assert_task_scheduled(docket, send)
    await assert_task_not_scheduled(docket, tidy)
    await assert_task_not_scheduled(docket, send, args=("eve",))
    await assert_task_not_scheduled(docket, send, key="second")
    await assert_task_count(docket, send, count=2)
    await assert_task_count(docket, tidy, count=0)
    await assert_task_count(docket, count=2)


@pytest.mark.requirement("R-076")
async def test_errors_show_what_there_is(docket: Docket) -> None:
    docket.register(tidy)
    await docket.add(send, key="first", when=HOUR)("ann", copies=2)
    shown = r"send\(\*\('ann',\), \*\*\{'copies': 2\}\) as 'first' at 20"
    with pytest.raises(AssertionError, match=f"no such task of send is scheduled; there are: {shown}"):
        await assert_task_scheduled(docket, send, args=("bob",))
    with pytest.raises(AssertionError, match="no such task of tidy is scheduled; there are: none"):
        await assert_task_scheduled(docket, tidy)
    with pytest.raises(AssertionError, match=f"there are such tasks: {shown}"):
        await assert_task_not_scheduled(docket, send)
    with pytest.raises(AssertionError, match=f"1 tasks are scheduled, not 2: {shown}"):
        await assert_task_count(docket, count=2)
    with pytest.raises(AssertionError, match="1 tasks are scheduled, not 0"):
        await assert_no_tasks(docket)
    with pytest.raises(KeyError, match="nobody"):
        await assert_task_scheduled(docket, "nobody")


@pytest.mark.requirement("R-076")
async def test_what_runs_or_has_ended_is_not_pending(docket: Docket) -> None:
    await docket.add(send)("ann")
    await work_off(docket)
    await assert_no_tasks(docket)


@pytest.mark.requirement("R-076")
async def test_more_than_a_page_is_counted(docket: Docket) -> None:
    await docket.add_many(docket.call(send)(str(number)) for number in range(1100))
    await assert_task_count(docket, send, count=1100)
    await docket.clear()


@pytest.mark.requirement("R-077")
async def test_hours_pass_without_waiting(moving: Docket, auto: AutoClock) -> None:
    log = Log(moving)

    async def note(name: str) -> None:
        log.note(name)
        await sleep(auto, 60_000_000)
        log.note(f"{name} again")

    for hours in (3, 1, 2):
        await moving.add(note, when=hours * HOUR)(str(hours))
    began = asyncio.get_running_loop().time()
    await work_off(moving)
    assert asyncio.get_running_loop().time() - began < 15
    assert log.notes == [
        (3600, "1"),
        (3660, "1 again"),
        (7200, "2"),
        (7260, "2 again"),
        (10800, "3"),
        (10860, "3 again"),
    ]


@pytest.mark.requirement("R-077")
async def test_it_stands_still_where_there_is_nothing_to_do(docket_url: str) -> None:
    start = datetime(2040, 1, 1, tzinfo=UTC)
    async with AutoClock(start) as clock, Docket("still", docket_url, clock=clock) as docket, working(docket):
        await asyncio.sleep(0.05)
        assert clock.now() == start.timestamp() * 1_000_000


@pytest.mark.requirement("R-077")
async def test_it_does_not_go_beyond_its_end(docket_url: str) -> None:
    start = datetime(2040, 1, 1, tzinfo=UTC)
    async with AutoClock(start, until=start + HOUR) as clock, Docket("bound", docket_url, clock=clock) as docket:
        log = Log(docket)

        async def note(name: str) -> None:
            log.note(name)

        await docket.add(note, when=HOUR)("in time")
        await docket.add(note, when=HOUR + timedelta(microseconds=1))("too late")
        async with working(docket):
            await asyncio.sleep(0.2)
        assert log.notes == [(3600, "in time")]


@pytest.mark.requirement("R-077")
async def test_real_time_is_waited_for_with_settle(docket_url: str) -> None:
    """The clock would else go on to what is due in an hour before the body has come to its end."""
    async with AutoClock(settle=0.3) as clock, Docket("real time", docket_url, clock=clock) as docket:
        log = Log(docket)

        async def real() -> None:
            await asyncio.sleep(0.02)
            log.note("real")

        async def later() -> None:
            log.note("later")

        await docket.add(real)()
        await docket.add(later, when=HOUR)()
        await work_off(docket)
        assert log.notes == [(0, "real"), (3600, "later")]


@pytest.mark.requirement("R-077")
async def test_a_body_in_a_thread_is_waited_for(moving: Docket) -> None:
    log = Log(moving)
    loop = asyncio.get_running_loop()

    def blocking() -> None:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.02), loop).result(5)
        log.note("thread")

    async def later() -> None:
        log.note("later")

    await moving.add(blocking)()
    await moving.add(later, when=HOUR)()
    await work_off(moving)
    assert log.notes == [(0, "thread"), (3600, "later")]


@pytest.mark.requirement("R-077", "R-054")
async def test_a_lease_is_renewed_however_far_the_clock_jumps(moving: Docket, auto: AutoClock) -> None:
    starts: list[float] = []
    log = Log(moving)

    async def long() -> None:
        starts.append(log.seconds)
        await sleep(auto, 300_000_000)

    for _ in range(2):  # the second one begins when the keeper of leases has had nothing to do for a while
        await moving.add(long)()
        await moving.add(tidy, when=HOUR)()
        await work_off(moving)
    assert starts == [0, 3600]


@pytest.mark.requirement("R-078", "R-003")
async def test_the_standard_tasks(moving: Docket, caplog: pytest.LogCaptureFixture) -> None:
    assert [task.__name__ for task in standard_tasks] == ["trace", "fail", "sleep"]
    assert {"trace", "fail", "sleep"} <= moving.tasks.keys()
    with caplog.at_level(logging.INFO):
        traced = await moving.add("trace")("a message")
        failing = await moving.add(fail)("as you wish")
        sleeping = await moving.add(sleep_task)(0.01)
        await work_off(moving)
        assert await traced.get_result() is None
        with pytest.raises(RuntimeError, match="as you wish"):
            await failing.get_result()
        await within(sleeping.get_result())
    assert sleeping.state is ExecutionState.COMPLETED
    assert "a message" in [record.getMessage() for record in caplog.records]
    assert trace in moving.tasks.values()
