"""Cases 13, 17, 18 and 20: chains and limits under denial, cancel, severing and loss."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from docket_core import CurrentExecution, Docket, Execution, ExecutionState, Perpetual, Retry
from docket_core.backend.clock import ManualClock
from docket_core.backend.model import CancelReply
from docket_core.dependencies import Cooldown, RateLimit
from docket_core.worker import services
from tests.support.workers import Signal, until, until_async, within, work_off, working

runs: list[Any] = []
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def fresh() -> None:
    runs.clear()


async def state_is(docket: Docket, key: str, state: ExecutionState) -> bool:
    execution = await docket.get_execution(key)
    return execution is not None and execution.state is state


async def test_case_17_a_run_denied_by_a_cooldown_does_not_end_its_chain(timed: Docket, clock: ManualClock) -> None:
    async def often(
        number: int,
        perpetual: Perpetual = Perpetual(every=timedelta(seconds=1)),
        cooldown: Cooldown = Cooldown(timedelta(seconds=10)),
    ) -> None:
        runs.append(number)
        perpetual.perpetuate(number + 1)

    await timed.add(often, key="often")(1)
    async with working(timed):
        await until(lambda: runs == [1])
        for _ in range(12):
            await until_async(lambda: state_is(timed, "often", ExecutionState.SCHEDULED))
            clock.advance(timedelta(seconds=1))
        await until(lambda: runs == [1, 2])  # ten were denied between; the arguments are the newest all the same


async def test_case_17_a_run_dropped_by_a_rate_limit_does_not_end_its_chain(timed: Docket, clock: ManualClock) -> None:
    async def often(
        number: int,
        perpetual: Perpetual = Perpetual(every=timedelta(seconds=1)),
        rate: RateLimit = RateLimit(1, per=timedelta(seconds=5), drop=True),
    ) -> None:
        runs.append(number)
        perpetual.perpetuate(number + 1)

    await timed.add(often, key="often")(1)
    async with working(timed):
        await until(lambda: runs == [1])
        for _ in range(6):
            await until_async(lambda: state_is(timed, "often", ExecutionState.SCHEDULED))
            clock.advance(timedelta(seconds=1))
        await until(lambda: runs == [1, 2])


async def test_case_13_a_chain_whose_waiting_run_is_cancelled_has_ended(docket: Docket) -> None:
    """What the user cancels ends; what is denied or fails goes on."""

    async def poll(perpetual: Perpetual = Perpetual(every=HOUR)) -> None:
        runs.append(1)

    await docket.add(poll, key="poll")()
    async with working(docket):
        await until_async(lambda: state_is(docket, "poll", ExecutionState.SCHEDULED))
        assert await docket.cancel("poll") is CancelReply.CANCELLED
        assert await state_is(docket, "poll", ExecutionState.CANCELLED)
    assert (await docket.snapshot()).total_tasks == 0


async def test_case_17_lost_before_its_ack_a_chain_has_one_successor_with_the_newest_arguments(
    timed: Docket, clock: ManualClock
) -> None:
    async def count(number: int, perpetual: Perpetual = Perpetual(every=HOUR)) -> None:
        runs.append(number)
        perpetual.perpetuate(number + 1)

    await timed.add(count, key="count")(1)
    await timed.backend.claim("dies", timed.functions.names, 1, 1_000_000)
    clock.advance(timedelta(seconds=2))
    async with working(timed):
        await until_async(lambda: state_is(timed, "count", ExecutionState.SCHEDULED))
    successor = await timed.get_execution("count")
    assert successor is not None
    assert (runs, successor.args, (await timed.snapshot()).total_tasks) == ([1], (2,), 1)


async def test_case_17_a_replaced_run_of_a_chain_leaves_one_successor(docket: Docket) -> None:
    begun, go_on = Signal(), Signal()

    async def count(number: int, perpetual: Perpetual = Perpetual(every=HOUR)) -> None:
        runs.append(number)
        perpetual.perpetuate(number + 1)
        if number == 1:
            begun.give()
            await go_on.seen()

    await docket.add(count, key="count")(1)
    async with working(docket):
        await begun.seen()
        await docket.replace(count, None, "count")(100)
        go_on.give()
        await until(lambda: runs == [1, 100])
        await until_async(lambda: state_is(docket, "count", ExecutionState.SCHEDULED))
    snapshot = await docket.snapshot()
    assert [execution.args for execution in snapshot.future] == [(101,)]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeding comes round quickly."""
    monkeypatch.setattr(services, "RESEED_INTERVAL", 100_000)


@pytest.mark.usefixtures("soon")
async def test_case_18_a_chain_severed_by_a_worker_that_does_not_know_it_is_alive_again(
    docket: Docket, other: Docket
) -> None:
    """The other's fallback drops it; who knows it seeds it anew."""

    async def sweep(perpetual: Perpetual = Perpetual(every=timedelta(milliseconds=50), automatic=True)) -> None:
        runs.append(1)

    async def drop(*args: object, **kwargs: object) -> None:
        runs.append("dropped")

    docket.register(sweep)
    async with working(other, fallback_task=drop) as stranger:
        await within(stranger.has_claimed())
        async with working(docket):
            await until(lambda: "dropped" in runs)
        stranger.stop()
    runs.clear()
    async with working(docket):
        await until(lambda: runs.count(1) > 2)


@pytest.mark.usefixtures("soon")
async def test_case_18_struck_and_restored_it_is_alive_again_once_per_fleet(docket: Docket, other: Docket) -> None:
    async def sweep(
        perpetual: Perpetual = Perpetual(every=timedelta(milliseconds=20), automatic=True),
        execution: Execution = CurrentExecution(),
    ) -> None:
        runs.append(execution.key)

    docket.register(sweep)
    other.register(sweep)
    async with working(docket), working(other):
        await until(lambda: len(runs) > 2)
        await docket.strike(sweep)
        await until_async(lambda: state_is(docket, "sweep", ExecutionState.CANCELLED))
        await until(lambda: other.strike_list.in_effect)
        stopped = len(runs)
        await asyncio.sleep(0.3)
        assert len(runs) - stopped <= 1  # one may have been about to run
        await other.restore(sweep)
        await until(lambda: len(runs) > stopped + 3)
        assert (await docket.snapshot()).total_tasks <= 1
    assert set(runs) == {"sweep"}


async def test_case_20_a_retry_is_there_once_though_its_worker_dies(timed: Docket, clock: ManualClock) -> None:
    async def flaky(retry: Retry = Retry(attempts=3, delay=timedelta(seconds=10))) -> int:
        runs.append(retry.attempt)
        if retry.attempt < 3:
            raise ValueError
        return retry.attempt

    execution = await timed.add(flaky, key="k")()
    for attempt in (1, 2):
        async with working(timed):
            await until(lambda attempt=attempt: runs[-1:] == [attempt])  # type: ignore[misc]
            await until_async(lambda: state_is(timed, "k", ExecutionState.SCHEDULED))
        assert (await timed.snapshot()).total_tasks == 1
        clock.advance(timedelta(seconds=10))
        claimed = await timed.backend.claim("dies", timed.functions.names, 5, 1_000_000)
        assert [claim.attempt for claim in claimed.claims] == [attempt + 1]
        clock.advance(timedelta(seconds=2))
    await work_off(timed)
    assert await execution.get_result() == 3
    assert runs == [1, 2, 3]
