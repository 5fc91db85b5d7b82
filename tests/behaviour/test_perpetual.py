"""Tasks that go on: when the next run is due, with what, and how a chain ends."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docket_core import Docket, Execution, ExecutionState, Perpetual, Retry
from docket_core.backend.clock import ManualClock
from tests.support.workers import until, until_async, within, work_off, working

MINUTE = timedelta(minutes=1)
runs: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    runs.clear()


async def pending(docket: Docket, key: str) -> Execution:
    """The successor, once it is there."""
    found: list[Execution] = []

    async def waits() -> bool:
        execution = await docket.get_execution(key)
        if execution is not None and execution.state is ExecutionState.SCHEDULED:
            found.append(execution)
        return bool(found)

    await until_async(waits)
    return found[0]


async def test_it_runs_again_from_start_to_start(timed: Docket, clock: ManualClock) -> None:
    async def poll(perpetual: Perpetual = Perpetual(every=MINUTE)) -> None:
        runs.append(clock.now())

    await timed.add(poll, key="poll")()
    async with working(timed):
        for number in range(1, 4):
            await until(lambda number=number: len(runs) == number)  # type: ignore[misc]
            successor = await pending(timed, "poll")
            assert 0 <= successor.when.timestamp() * 1e6 - runs[-1] <= 60_000_000
            clock.advance(MINUTE)
    assert len(runs) >= 3


async def test_one_that_took_longer_is_followed_at_once(docket: Docket) -> None:
    async def slow(perpetual: Perpetual = Perpetual(every=timedelta(milliseconds=20))) -> None:
        runs.append(1)
        await asyncio.sleep(0.05)

    await docket.add(slow, key="slow")()
    async with Worker_at_most(docket, "slow", 3):
        pass
    assert runs == [1, 1, 1]


class Worker_at_most:
    """Runs a key so often."""

    def __init__(self, docket: Docket, key: str, times: int) -> None:
        self.docket, self.key, self.times = docket, key, times

    async def __aenter__(self) -> None:
        from docket_core import Worker

        async with Worker(self.docket) as worker:
            await within(worker.run_at_most({self.key: self.times}))

    async def __aexit__(self, *_: object) -> None:
        return None


async def test_the_next_run_has_the_same_arguments_or_those_that_it_was_given(docket: Docket) -> None:
    async def count(number: int, *, step: int = 1, perpetual: Perpetual = Perpetual()) -> None:
        runs.append((number, step))
        if number == 2:
            perpetual.perpetuate(number + 10, step=5)
        elif number < 2:
            perpetual.perpetuate(number + 1)

    await docket.add(count, key="count")(1, step=3)
    async with Worker_at_most(docket, "count", 4):
        pass
    assert runs == [(1, 3), (2, 1), (12, 5), (12, 5)]


async def test_it_is_continued_after_a_failure_too(docket: Docket) -> None:
    async def shaky(perpetual: Perpetual = Perpetual(), retry: Retry = Retry(attempts=2)) -> None:
        runs.append(retry.attempt)
        raise ValueError("again")

    await docket.add(shaky, key="shaky")()
    async with Worker_at_most(docket, "shaky", 6):
        pass
    assert runs == [1, 2, 1, 2, 1, 2]


async def test_a_failing_one_logs_each_time(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async def shaky(perpetual: Perpetual = Perpetual()) -> None:
        raise ValueError("again")

    await docket.add(shaky, key="shaky")()
    async with Worker_at_most(docket, "shaky", 3):
        pass
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 3
    assert all(record.exc_info is not None and "again" in str(record.exc_info[1]) for record in errors)


async def test_it_ends_when_it_says_so(docket: Docket) -> None:
    async def thrice(number: int, perpetual: Perpetual = Perpetual()) -> int:
        runs.append(number)
        perpetual.perpetuate(number + 1)
        if number == 3:
            perpetual.cancel()
        return number

    await docket.add(thrice, key="thrice")(1)
    await work_off(docket)
    assert runs == [1, 2, 3]
    last = await docket.get_execution("thrice")
    assert last is not None
    assert await last.get_result() == 3


async def test_it_says_when_the_next_is_due(timed: Docket, clock: ManualClock) -> None:
    async def choosy(perpetual: Perpetual = Perpetual(every=MINUTE)) -> None:
        runs.append(1)
        if len(runs) == 1:
            perpetual.after(timedelta(hours=1))
        else:
            perpetual.at(datetime(2031, 1, 1, tzinfo=UTC))

    await timed.add(choosy, key="choosy")()
    async with working(timed):
        assert (await pending(timed, "choosy")).when == datetime(2030, 1, 1, 1, tzinfo=UTC)
        clock.advance(timedelta(hours=1))
        await until(lambda: len(runs) == 2)
        assert (await pending(timed, "choosy")).when == datetime(2031, 1, 1, tzinfo=UTC)


async def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Perpetual().at(datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="not negative"):
        Perpetual(every=timedelta(-1))


async def test_arguments_that_cannot_be_encoded_do_not_end_the_chain(
    docket: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    async def careless(number: int, perpetual: Perpetual = Perpetual()) -> None:
        runs.append(number)
        perpetual.perpetuate(number for _ in range(3))

    await docket.add(careless, key="careless")(1)
    async with Worker_at_most(docket, "careless", 3):
        pass
    assert runs == [1, 1, 1]
    assert "cannot be encoded" in caplog.text


async def test_arguments_that_are_too_large_do_not_end_the_chain(
    docket: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    async def growing(text: str, perpetual: Perpetual = Perpetual()) -> None:
        runs.append(len(text))
        perpetual.perpetuate(text * 1024 * 1024)

    await docket.add(growing, key="growing")("xx")
    async with Worker_at_most(docket, "growing", 3):
        pass
    assert runs == [2, 2, 2]
    assert "bytes" in caplog.text


async def test_each_run_of_a_chain_has_a_result_of_its_own(docket: Docket) -> None:
    async def count(number: int, perpetual: Perpetual = Perpetual(every=timedelta(hours=1))) -> int:
        perpetual.perpetuate(number + 1)
        return number

    first = await docket.add(count, key="count")(1)
    async with working(docket):
        assert await within(first.get_result()) == 1
        assert (await pending(docket, "count")).args == (2,)
    assert await first.get_result() == 1


async def test_automatic_tasks_are_put_on_the_docket_by_workers(docket: Docket, other: Docket) -> None:
    async def sweep(perpetual: Perpetual = Perpetual(every=timedelta(hours=1), automatic=True)) -> None:
        runs.append(1)

    docket.register(sweep)
    other.register(sweep)
    async with working(docket), working(other):
        await until(lambda: runs == [1])
        assert (await pending(other, "sweep")).function_name == "sweep"
    async with working(docket):
        assert (await pending(docket, "sweep")).generation > 0
    assert runs == [1]


async def test_automatic_tasks_can_be_left_to_others(docket: Docket) -> None:
    async def sweep(perpetual: Perpetual = Perpetual(automatic=True)) -> None:
        runs.append(1)

    docket.register(sweep)
    await work_off(docket, schedule_automatic_tasks=False)
    assert runs == []
    assert await docket.get_execution("sweep") is None
