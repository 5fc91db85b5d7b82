"""Retries, chains, timeouts and hooks, by a clock that moves by itself."""

import itertools
from datetime import timedelta

import pytest

from docket_core import (
    Docket,
    ExponentialRetry,
    Perpetual,
    Retry,
    Timeout,
    Worker,
)
from docket_core.backend.kit import sleep
from docket_core.testing import AutoClock
from tests.support.moments import MINUTE, Log
from tests.support.workers import within, work_off

TEN = timedelta(seconds=10)


async def run_at_most(docket: Docket, key: str, times: int) -> None:
    async with Worker(docket) as worker:
        await within(worker.run_at_most({key: times}))


@pytest.mark.requirement("R-042")
async def test_delays(moving: Docket) -> None:
    log = Log(moving)

    async def flaky(retry: Retry = Retry(attempts=3, delay=TEN)) -> None:
        log.note(f"attempt {retry.attempt} of {retry.attempts}")
        raise ValueError("always")

    execution = await moving.add(flaky)()
    await work_off(moving)
    assert log.notes == [(0, "attempt 1 of 3"), (10, "attempt 2 of 3"), (20, "attempt 3 of 3")]
    with pytest.raises(ValueError, match="always"):
        await execution.get_result()


@pytest.mark.requirement("R-042")
async def test_jitter_shortens_each_delay_by_chance(moving: Docket) -> None:
    log = Log(moving)

    async def flaky(retry: Retry = Retry(attempts=30, delay=TEN, jitter=0.5)) -> None:
        log.note("tried")
        raise ValueError

    await moving.add(flaky)()
    await work_off(moving)
    moments = [seconds for seconds, _ in log.notes]
    delays = [after - before for before, after in itertools.pairwise(moments)]
    assert len(delays) == 29
    assert all(4.999 <= delay <= 10.001 for delay in delays)
    assert len(set(delays)) > 20


@pytest.mark.requirement("R-042")
async def test_only_some_exceptions_are_tried_again(moving: Docket) -> None:
    tried: list[str] = []

    async def picky(error: str, retry: Retry = Retry(attempts=3, on=(ConnectionError, TimeoutError))) -> None:
        tried.append(error)
        raise {"connection": ConnectionResetError, "value": ValueError}[error]

    for error in ("connection", "value"):
        await moving.add(picky)(error)
    await work_off(moving)
    assert sorted(tried) == ["connection"] * 3 + ["value"]


@pytest.mark.requirement("R-043")
async def test_delays_that_double(moving: Docket) -> None:
    log = Log(moving)

    async def flaky(
        retry: ExponentialRetry = ExponentialRetry(
            attempts=6, minimum_delay=timedelta(seconds=1), maximum_delay=timedelta(seconds=6)
        ),
    ) -> None:
        log.note("tried")
        raise ValueError

    await moving.add(flaky)()
    await work_off(moving)
    assert [seconds for seconds, _ in log.notes] == [0, 1, 3, 7, 13, 19]


@pytest.mark.requirement("R-042", "R-043")
async def test_for_ever(moving: Docket) -> None:
    log = Log(moving)

    async def stubborn(name: str, retry: Retry = Retry.forever(delay=TEN)) -> None:
        log.note(name)
        if retry.attempt < 20:
            raise ValueError

    async def doubling(retry: ExponentialRetry = ExponentialRetry.forever(maximum_delay=TEN)) -> int:
        if retry.attempt < 20:
            raise ValueError
        return retry.attempt

    await moving.add(stubborn)("x")
    execution = await moving.add(doubling)()
    await work_off(moving)
    assert len(log.notes) == 20
    assert await execution.get_result() == 20


@pytest.mark.requirement("R-044")
async def test_a_task_chooses_when(moving: Docket) -> None:
    log = Log(moving)

    async def choosy(retry: Retry = Retry(attempts=4)) -> str:
        log.note(str(retry.attempt))
        if retry.attempt == 1:
            retry.after(TEN)
        if retry.attempt == 2:
            retry.in_(MINUTE)
        if retry.attempt == 3:
            start = (await moving.snapshot()).taken
            retry.at(start + timedelta(minutes=5))
        return "done"

    execution = await moving.add(choosy)()
    await work_off(moving)
    assert await execution.get_result() == "done"
    assert log.notes == [(0, "1"), (10, "2"), (70, "3"), (370, "4")]


@pytest.mark.requirement("R-045")
async def test_a_chain_counts_from_start_to_start(moving: Docket, auto: AutoClock) -> None:
    log = Log(moving)

    async def beat(perpetual: Perpetual = Perpetual(every=MINUTE)) -> None:
        log.note("beat")
        lengths = {1: 20, 2: 90}
        await sleep(auto, lengths.get(len(log.notes), 0) * 1_000_000)

    await moving.add(beat, key="beat")()
    await run_at_most(moving, "beat", 4)
    assert [seconds for seconds, _ in log.notes] == [0, 60, 150, 210], "a run that took too long is followed at once"


@pytest.mark.requirement("R-045")
async def test_a_chain_goes_on_after_its_final_failure(moving: Docket, caplog: pytest.LogCaptureFixture) -> None:
    log = Log(moving)

    async def beat(perpetual: Perpetual = Perpetual(every=MINUTE), retry: Retry = Retry(attempts=2, delay=TEN)) -> None:
        log.note(str(retry.attempt))
        raise ValueError("out of order")

    await moving.add(beat, key="beat")()
    await run_at_most(moving, "beat", 4)
    assert log.texts == ["1", "2", "1", "2"]
    assert [record for record in caplog.records if record.levelname == "ERROR"] != []


@pytest.mark.requirement("R-046")
async def test_a_chain_is_steered_by_its_runs(moving: Docket) -> None:
    log = Log(moving)

    async def beat(number: int, perpetual: Perpetual = Perpetual(every=MINUTE)) -> None:
        log.note(str(number))
        if number == 2:
            perpetual.after(TEN)
        if number == 3:
            perpetual.at((await moving.snapshot()).taken + timedelta(hours=1))
        if number == 4:
            perpetual.cancel()
        else:
            perpetual.perpetuate(number + 1)

    await moving.add(beat, key="beat")(1)
    await work_off(moving)
    assert log.notes == [(0, "1"), (60, "2"), (70, "3"), (3670, "4")]


@pytest.mark.requirement("R-050")
async def test_a_body_that_runs_too_long(moving: Docket, auto: AutoClock) -> None:
    log = Log(moving)

    async def slow(timeout: Timeout = Timeout(TEN)) -> None:
        assert timeout.remaining() == TEN
        await sleep(auto, 4_000_000)
        assert timeout.remaining() == timedelta(seconds=6)
        timeout.extend(timedelta(seconds=5))
        await sleep(auto, 10_000_000)
        assert not timeout.expired()
        timeout.extend()
        await sleep(auto, 3_600_000_000)
        log.note("it must not come here")

    execution = await moving.add(slow)()
    await work_off(moving)
    with pytest.raises(TimeoutError, match="slow ran longer than its timeout of 0:00:10"):
        await execution.get_result()
    assert log.notes == []
    assert log.seconds == 25


@pytest.mark.requirement("R-050", "R-042")
async def test_a_timeout_is_a_failure_like_any_other(moving: Docket, auto: AutoClock) -> None:
    async def slow(timeout: Timeout = Timeout(TEN), retry: Retry = Retry(attempts=2, on=TimeoutError)) -> int:
        if retry.attempt == 1:
            await sleep(auto, 3_600_000_000)
        return retry.attempt

    execution = await moving.add(slow)()
    await work_off(moving)
    assert await execution.get_result() == 2
