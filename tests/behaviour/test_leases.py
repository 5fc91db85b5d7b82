"""Cases 2, 3, 4, 6 and 7: leases that are renewed, lost and taken over, and acks whose answer is lost."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from docket_core import (
    CurrentExecution,
    Docket,
    Execution,
    ExecutionFailed,
    ExecutionState,
    ExecutionSuperseded,
    Worker,
)
from docket_core.backend.clock import ManualClock
from tests.support.away import AwayDocket, Switches
from tests.support.workers import LEASE, Signal, until, until_async, within, work_off, working

started: list[tuple[str | None, int | None]] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    started.clear()


async def give(value: object, execution: Execution = CurrentExecution()) -> object:
    started.append((execution.worker, execution.token))
    return value


async def test_case_02_a_body_five_leases_long_runs_once(docket: Docket, other: Docket) -> None:
    lease = timedelta(milliseconds=400)

    async def long(execution: Execution = CurrentExecution()) -> str:
        started.append((execution.worker, execution.token))
        await asyncio.sleep(5 * lease.total_seconds())
        return "once"

    docket.register(long)
    other.register(long)
    async with working(docket, redelivery_timeout=lease), working(other, redelivery_timeout=lease):
        execution = await docket.add(long)()
        assert await within(execution.get_result()) == "once"
    assert len(started) == 1


async def test_case_02_a_drain_longer_than_a_lease_keeps_it(docket: Docket, other: Docket) -> None:
    lease = timedelta(milliseconds=400)
    begun, go_on = Signal(), Signal()

    async def long(execution: Execution = CurrentExecution()) -> str:
        started.append((execution.worker, execution.token))
        begun.give()
        await go_on.seen()
        return "once"

    docket.register(long)
    other.register(long)
    async with Worker(docket, name="drains", redelivery_timeout=lease) as worker:
        running = asyncio.create_task(worker.run_forever())
        execution = await docket.add(long)()
        await begun.seen()
        worker.stop()
        async with working(other, name="waits", redelivery_timeout=lease):
            await asyncio.sleep(3 * lease.total_seconds())
            go_on.give()
            assert await within(execution.get_result()) == "once"
            await within(running)
    assert [name for name, _ in started] == ["drains"]


async def test_case_02_renewal_goes_on_until_the_ack_has_returned(docket_url: str) -> None:
    lease = timedelta(milliseconds=400)
    switches = Switches()
    async with AwayDocket("orders", docket_url, switches=switches) as docket, Docket("orders", docket_url) as other:
        other.register(give)
        async with working(docket, name="slow", redelivery_timeout=lease):
            switches.silent = {"ack"}
            execution = await docket.add(give)("once")
            await until(lambda: bool(started))
            async with working(other, name="waits", redelivery_timeout=lease):
                await asyncio.sleep(3 * lease.total_seconds())
                switches.back()
                assert await within(execution.get_result()) == "once"
    assert [name for name, _ in started] == ["slow"]


async def test_case_03_a_worker_that_cannot_renew_stops_the_body_and_changes_nothing(docket_url: str) -> None:
    """Silent, not refusing: the renewal that hangs must not hide the end of the lease."""
    switches = Switches()
    seen: list[str] = []

    async def work(execution: Execution = CurrentExecution()) -> str:
        started.append((execution.worker, execution.token))
        if execution.worker == "other":
            return "the other's"
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("stopped")
            await asyncio.sleep(0)
        return "a zombie's"

    async with AwayDocket("orders", docket_url, switches=switches) as docket, Docket("orders", docket_url) as other:
        other.register(work)
        async with working(docket, name="cut off", redelivery_timeout=LEASE) as worker:
            execution = await other.add(work)()
            docket.register(work)
            await until(lambda: bool(started))
            switches.silent = {"renew", "ack", "claim"}
            began = time.monotonic()
            async with working(other, name="other", redelivery_timeout=LEASE):
                await until(lambda: bool(seen))
                assert time.monotonic() - began < 2 * LEASE.total_seconds()
                assert await within(execution.get_result()) == "the other's"
                switches.back()
                await until(worker.is_idle)
            assert await execution.get_result() == "the other's"
    assert [name for name, _ in started] == ["cut off", "other"]


async def test_case_03_what_a_zombie_says_counts_for_nothing(
    timed: Docket, docket_url: str, clock: ManualClock
) -> None:
    """Time leaps over its lease while it runs: progress, result and successor of the older grant are refused."""
    begun, told, go_on = Signal(), Signal(), Signal()
    superseded: list[bool] = []

    async def work(execution: Execution = CurrentExecution()) -> str:
        started.append((execution.worker, execution.token))
        if execution.worker == "second":
            await execution.progress.increment(3)
            return "second"
        await execution.progress.increment(100)
        begun.give()
        while not go_on.given:
            try:
                await go_on.seen()
            except asyncio.CancelledError:
                told.give()
        await execution.progress.increment(100)
        superseded.append(await execution.is_superseded())
        return "first"

    async with Docket(timed.name, docket_url, clock=clock) as other:
        other.register(work)
        async with working(timed, name="first", concurrency=1):
            execution = await timed.add(work)()
            await begun.seen()
            clock.advance(timedelta(seconds=31))
            await work_off(other, name="second")
            assert await execution.get_result() == "second"
            await told.seen()
            go_on.give()
            await until(lambda: bool(superseded))
        assert await execution.get_result() == "second"
    first, second = (token for _, token in started)
    assert first is not None
    assert second is not None
    assert first < second


@pytest.mark.parametrize("kind", ["loop", "thread"])
async def test_case_04_a_body_that_blocks_the_loop_for_two_leases_keeps_its_lease(
    docket: Docket, docket_url: str, kind: str
) -> None:
    """The one who would take over is on another thread with a loop of its own, as another process would be."""
    lease = timedelta(milliseconds=500)

    async def block_loop(execution: Execution = CurrentExecution()) -> str:
        started.append((execution.worker, execution.token))
        time.sleep(2.5 * lease.total_seconds())  # noqa: ASYNC251 - this is what is tested
        return "once"

    def block_thread(execution: Execution = CurrentExecution()) -> str:
        started.append((execution.worker, execution.token))
        time.sleep(2.5 * lease.total_seconds())
        return "once"

    task = block_loop if kind == "loop" else block_thread

    async def rival() -> None:
        async with Docket(docket.name, docket_url) as other:
            other.register(task)
            async with working(other, name="rival", redelivery_timeout=lease):
                await asyncio.sleep(3.5 * lease.total_seconds())

    execution = await docket.add(task)()
    async with working(docket, name="blocked", redelivery_timeout=lease):
        await until(lambda: bool(started))
        await asyncio.to_thread(asyncio.run, rival())
        assert await within(execution.get_result()) == "once"
    assert [name for name, _ in started] == ["blocked"]


async def test_case_06_a_task_that_is_lost_again_and_again_is_given_up(timed: Docket, clock: ManualClock) -> None:
    """In one process: its workers forget it, as if they had died."""
    execution = await timed.add(give, key="poison")(1)
    for delivery in range(1, 4):
        claimed = await timed.backend.claim(f"dies {delivery}", timed.functions.names, 1, 1_000_000, 3)
        assert [claim.delivery for claim in claimed.claims] == [delivery]
        clock.advance(timedelta(minutes=2))
    await work_off(timed, max_deliveries=3)
    with pytest.raises(ExecutionFailed, match="granted 3 times"):
        await execution.get_result()
    assert started == []
    healthy = await timed.add(give)(2)
    await work_off(timed, max_deliveries=3)
    assert await healthy.get_result() == 2
    again = await timed.retry("poison")
    await work_off(timed, max_deliveries=3)
    assert await again.get_result() == 1


async def test_case_07_an_ack_whose_answer_is_lost_is_repeated(docket_url: str) -> None:
    switches = Switches()
    async with AwayDocket("orders", docket_url, switches=switches) as docket:
        inner: Any = docket.backend
        answers: list[object] = []

        async def loses_the_first_answer(acks: Any) -> object:
            answers.append(await ack(acks))
            if len(answers) == 1:
                raise ConnectionResetError("the answer was lost")
            return answers[-1]

        ack = inner.ack
        inner.ack = loses_the_first_answer
        execution = await docket.add(give)("once")
        async with working(docket) as worker:
            assert await within(execution.get_result()) == "once"
            await until(lambda: len(answers) == 2)
            await until(worker.is_idle)
    assert answers[0] == answers[1]
    assert len(started) == 1


async def test_case_07_verdicts_wait_while_the_store_is_away(docket_url: str) -> None:
    switches = Switches()
    async with AwayDocket("orders", docket_url, switches=switches) as docket:
        docket.register(give)
        async with working(docket, concurrency=3) as worker:
            switches.refusing = {"ack"}
            executions = await docket.add_many([docket.call(give)(number) for number in range(3)])
            await until(lambda: len(started) == 3)
            await until(lambda: switches.calls.count("ack") > 3)
            switches.back()
            for number, execution in enumerate(executions):
                assert await within(execution.get_result()) == number
            await until(worker.is_idle)
    assert len(started) == 3


async def test_who_waits_for_a_replaced_run_is_told_though_its_holder_is_dead(
    timed: Docket, clock: ManualClock
) -> None:
    old = await timed.add(give, key="k")("old")
    await timed.backend.claim("dies", timed.functions.names, 1, 1_000_000)
    new = await timed.replace(give, None, "k")("new")
    with pytest.raises(ExecutionSuperseded):
        await within(old.get_result())
    clock.advance(timedelta(seconds=2))
    await work_off(timed)
    assert await new.get_result() == "new"
    await until_async(lambda: ended(new))


async def ended(execution: Execution) -> bool:
    await execution.sync()
    return execution.state is ExecutionState.COMPLETED


async def test_case_06_a_suspect_is_run_alone_and_one_at_a_time(timed: Docket, clock: ManualClock) -> None:
    """What was lost twice may be what ends its workers: its neighbours must not be lost with it once more."""
    beside: list[int] = []
    running: set[str] = set()

    async def watched(name: str) -> None:
        running.add(name)
        beside.append(len(running))
        for _ in range(20):
            await asyncio.sleep(0)
        running.discard(name)

    for number in range(3):
        await timed.add(watched, key=f"suspect {number}")(f"suspect {number}")
    for delivery in (1, 2):
        claimed = await timed.backend.claim(f"dies {delivery}", timed.functions.names, 10, 1_000_000, 5)
        assert [claim.delivery for claim in claimed.claims] == [delivery] * 3
        clock.advance(timedelta(minutes=2))
    suspects = [await timed.get_execution(f"suspect {number}") for number in range(3)]
    healthy = [await timed.add(watched, key=f"healthy {number}")(f"healthy {number}") for number in range(3)]
    await work_off(timed, concurrency=10)
    assert len(beside) == 6
    assert beside.count(1) >= 4  # three suspects, and the first of the healthy ones
    for execution in (*suspects, *healthy):
        assert execution is not None
        await execution.sync()
        assert execution.state is ExecutionState.COMPLETED
