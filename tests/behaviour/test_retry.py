"""Trying again after a failure, and asking for it."""

from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from docket_core import Disposition, Docket, Execution, ExecutionState, ExponentialRetry, Retry
from docket_core.backend.clock import ManualClock
from docket_core.dependencies import ForcedRetry
from tests.support.workers import until, until_async, within, work_off, working


class Flaky(Exception):
    pass


class Hopeless(Exception):
    pass


attempts: list[int] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    attempts.clear()


async def always_flaky(retry: Retry = Retry(attempts=3)) -> None:
    attempts.append(retry.attempt)
    raise Flaky(f"attempt {retry.attempt}")


async def test_a_task_is_tried_so_often_in_total(docket: Docket) -> None:
    execution = await docket.add(always_flaky)()
    await work_off(docket)
    assert attempts == [1, 2, 3]
    with pytest.raises(Flaky, match="attempt 3"):
        await execution.get_result()
    assert execution.attempt == 3


async def test_without_retry_a_task_is_tried_once(docket: Docket) -> None:
    async def once() -> None:
        attempts.append(1)
        raise Flaky

    execution = await docket.add(once)()
    await work_off(docket)
    assert attempts == [1]
    with pytest.raises(Flaky):
        await execution.get_result()


async def test_one_attempt_in_total_is_no_retry(docket: Docket) -> None:
    async def once(retry: Retry = Retry()) -> None:
        attempts.append(retry.attempt)
        raise Flaky

    await docket.add(once)()
    await work_off(docket)
    assert attempts == [1]


async def test_forever_goes_on_until_it_succeeds(docket: Docket) -> None:
    async def stubborn(retry: Retry = Retry.forever()) -> str:
        attempts.append(retry.attempt)
        if retry.attempt < 12:
            raise Flaky
        return "at last"

    execution = await docket.add(stubborn)()
    await work_off(docket)
    assert attempts == list(range(1, 13))
    assert await execution.get_result() == "at last"


async def test_who_waits_follows_the_run_through_its_retries(docket: Docket) -> None:
    async def second_time(retry: Retry = Retry(attempts=2)) -> str:
        if retry.attempt == 1:
            raise Flaky
        return "second"

    execution = await docket.add(second_time)()
    async with working(docket):
        assert await within(execution.get_result()) == "second"


async def test_a_retry_waits_for_its_delay(timed: Docket, clock: ManualClock) -> None:
    times: list[datetime] = []

    async def slowly(retry: Retry = Retry(attempts=3, delay=timedelta(minutes=10))) -> None:
        times.append(datetime.fromtimestamp(clock.now() / 1e6, UTC))
        raise Flaky

    execution = await timed.add(slowly)()
    async with working(timed):
        await until(lambda: len(times) == 1)
        await execution_is(timed, execution, ExecutionState.SCHEDULED)
        clock.advance(timedelta(minutes=10))
        await until(lambda: len(times) == 2)
        await execution_is(timed, execution, ExecutionState.SCHEDULED)
        clock.advance(timedelta(minutes=10))
        with pytest.raises(Flaky):
            await within(execution.get_result())
    assert [moment - times[0] for moment in times] == [timedelta(minutes=minutes) for minutes in (0, 10, 20)]


async def execution_is(docket: Docket, execution: Execution, state: ExecutionState) -> None:
    async def reached() -> bool:
        await execution.sync()
        return execution.state is state

    await until_async(reached)
    assert docket is execution.docket


async def test_only_the_exceptions_that_are_named_are_tried_again(docket: Docket) -> None:
    async def picky(error: str, retry: Retry = Retry(attempts=3, on=(Flaky, OSError))) -> None:
        attempts.append(retry.attempt)
        raise Flaky if error == "flaky" else Hopeless

    hopeless = await docket.add(picky)("hopeless")
    await work_off(docket)
    assert attempts == [1]
    with pytest.raises(Hopeless):
        await hopeless.get_result()
    attempts.clear()
    await docket.add(picky)("flaky")
    await work_off(docket)
    assert attempts == [1, 2, 3]


async def test_a_task_asks_to_be_tried_again_at_its_time(timed: Docket, clock: ManualClock) -> None:
    asked: list[str] = []

    async def choosy(retry: Retry = Retry(attempts=4)) -> str:
        asked.append(f"{retry.attempt} at {(clock.now() - start) // 1_000_000}")
        if retry.attempt == 1:
            retry.after(timedelta(seconds=10))
        if retry.attempt == 2:
            retry.in_(timedelta(seconds=20))
        if retry.attempt == 3:
            retry.at(datetime(2030, 1, 1, 0, 1, tzinfo=UTC))
        return "done"

    start = clock.now()
    execution = await timed.add(choosy)()
    async with working(timed):
        for number, seconds in enumerate((10, 20, 30), 1):
            await until(lambda number=number: len(asked) == number)  # type: ignore[misc]
            await execution_is(timed, execution, ExecutionState.SCHEDULED)
            clock.advance(timedelta(seconds=seconds))
        assert await within(execution.get_result()) == "done"
    assert asked == ["1 at 0", "2 at 10", "3 at 30", "4 at 60"]


async def test_a_task_that_asks_once_too_often_fails(docket: Docket) -> None:
    async def greedy(retry: Retry = Retry(attempts=2)) -> NoReturn:
        attempts.append(retry.attempt)
        retry.after(timedelta(0))

    execution = await docket.add(greedy)()
    await work_off(docket)
    assert attempts == [1, 2]
    with pytest.raises(ForcedRetry, match="^the task asks to be tried again: 0:00:00$"):
        await execution.get_result()


async def test_what_asks_for_a_time_without_a_zone_fails_and_says_so(docket: Docket) -> None:
    async def naive(retry: Retry = Retry(attempts=3)) -> NoReturn:
        attempts.append(retry.attempt)
        retry.at(datetime(2030, 1, 1))  # noqa: DTZ001

    execution = await docket.add(naive)()
    await work_off(docket)
    assert attempts == [1, 2, 3]  # a mistake of the task's own, so it is tried again as any other
    with pytest.raises(ValueError, match="time zone"):
        await execution.get_result()


async def test_exponential_delays_double_up_to_their_maximum() -> None:
    retry = ExponentialRetry(attempts=9, minimum_delay=timedelta(seconds=1), maximum_delay=timedelta(seconds=10))
    assert [retry.delay_after(attempt).total_seconds() for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    forever = ExponentialRetry.forever()
    assert forever.attempts is None
    assert forever.delay_after(10_000) == timedelta(seconds=64)


async def test_an_exponential_retry_waits_longer_each_time(timed: Docket, clock: ManualClock) -> None:
    begun: list[int] = []

    async def backing_off(retry: ExponentialRetry = ExponentialRetry(attempts=4)) -> None:
        begun.append((clock.now() - start) // 1_000_000)
        raise Flaky

    start = clock.now()
    execution = await timed.add(backing_off)()
    async with working(timed):
        for number, seconds in enumerate((1, 2, 4), 1):
            await until(lambda number=number: len(begun) == number)  # type: ignore[misc]
            await execution_is(timed, execution, ExecutionState.SCHEDULED)
            clock.advance(timedelta(seconds=seconds))
        with pytest.raises(Flaky):
            await within(execution.get_result())
    assert begun == [0, 1, 3, 7]


async def test_jitter_shortens_by_its_share_at_most(timed: Docket, clock: ManualClock) -> None:
    async def jittery(retry: Retry = Retry(attempts=2, delay=timedelta(seconds=100), jitter=0.5)) -> None:
        attempts.append(retry.attempt)
        raise Flaky

    executions = [await timed.add(jittery)() for _ in range(30)]
    async with working(timed):
        await until(lambda: len(attempts) == 30)
        for execution in executions:
            await execution_is(timed, execution, ExecutionState.SCHEDULED)
    delays = [execution.when.timestamp() - clock.now() / 1e6 for execution in executions]
    assert 50 <= min(delays) < max(delays) <= 100


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"attempts": -1}, {"delay": timedelta(-1)}, {"jitter": 1.5}, {"jitter": -0.1}],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not"):
        Retry(**options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_retried_task_is_still_the_same_key(docket: Docket) -> None:
    begun: list[Disposition] = []

    async def guarded(retry: Retry = Retry(attempts=2)) -> None:
        rival = await docket.add(guarded, key="once")()
        begun.append(rival.disposition)
        raise Flaky

    await docket.add(guarded, key="once")()
    await work_off(docket)
    assert begun == [Disposition.ALREADY_SCHEDULED] * 2
