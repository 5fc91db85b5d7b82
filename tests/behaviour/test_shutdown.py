"""Cases 1, 27 and 28: how a worker starts and ends, whatever happens meanwhile, and that it leaves nothing behind."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest

from docket_core import CurrentExecution, Docket, Execution, ExecutionState, Perpetual, Worker
from tests.support.away import EVERYTHING, AwayDocket, Switches
from tests.support.workers import Signal, until, within, work_off, working

BESIDE = {"heartbeat", "subscribe", "prune", "retire"}
runs: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    runs.clear()


async def give(value: object) -> object:
    runs.append(str(value))
    return value


async def seeded(perpetual: Perpetual = Perpetual(every=timedelta(hours=1), automatic=True)) -> None: ...


@pytest.fixture
async def away(docket_url: str) -> AsyncGenerator[AwayDocket, None]:
    docket = AwayDocket("away", docket_url, switches=Switches())
    async with docket:
        yield docket
        docket.switches.back()


async def test_case_27_told_to_stop_a_worker_ends_what_runs_and_takes_nothing_new(docket: Docket) -> None:
    begun, go_on = Signal(), Signal()

    async def hold() -> str:
        begun.give()
        await go_on.seen()
        return "ended well"

    async with Worker(docket, concurrency=1) as worker:
        held = await docket.add(hold)()
        running = asyncio.create_task(worker.run_forever())
        await begun.seen()
        waiting = await docket.add(give)(1)  # no sooner: claims go round the functions, from any of them
        worker.stop()
        await asyncio.sleep(0.05)
        assert not running.done()
        go_on.give()
        await within(running)
    assert await held.get_result() == "ended well"
    await waiting.sync()
    assert (waiting.state, runs) == (ExecutionState.QUEUED, [])


async def test_case_28_opened_for_a_moment_it_leaves_no_exception_behind(docket_url: str) -> None:
    """Its listening connection is still being opened when it is closed."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    for number in range(40):
        async with Docket("short", docket_url) as docket:
            await docket.strike(f"function {number}")
    gc.collect()
    assert told == []


async def test_case_27_told_twice_it_leaves_at_once_and_uses_up_no_attempt(docket: Docket) -> None:
    begun = Signal()
    seen: list[tuple[int, bool]] = []

    async def hold(execution: Execution = CurrentExecution()) -> str:
        seen.append((execution.attempt, execution.redelivered))
        begun.give()
        if len(seen) == 1:
            await asyncio.sleep(3600)
        return "at last"

    async with Worker(docket, max_deliveries=1) as worker:
        execution = await docket.add(hold)()
        running = asyncio.create_task(worker.run_forever())
        await begun.seen()
        worker.stop()
        worker.stop()
        await within(running, 2)
        await execution.sync()
        assert execution.state is ExecutionState.QUEUED
    await work_off(docket, max_deliveries=1)
    assert await execution.get_result() == "at last"
    assert seen == [(1, False), (1, False)]


async def test_case_27_the_grace_is_how_long_running_tasks_may_go_on(docket: Docket) -> None:
    begun, seen = Signal(), list[str]()

    async def endless() -> None:
        begun.give()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with Worker(docket, shutdown_grace=timedelta(milliseconds=300)) as worker:
        execution = await docket.add(endless)()
        running = asyncio.create_task(worker.run_forever())
        await begun.seen()
        began = asyncio.get_running_loop().time()
        worker.stop()
        await within(running)
        took = asyncio.get_running_loop().time() - began
    assert seen == ["cancelled"]
    assert 0.3 <= took < 1.5
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED


async def test_case_27_what_is_due_in_an_hour_stays(docket: Docket) -> None:
    execution = await docket.add(give, when=timedelta(hours=1))(1)
    async with working(docket) as worker:
        await within(worker.has_claimed())
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 1
    await execution.sync()
    assert execution.state is ExecutionState.SCHEDULED


async def test_case_27_an_embedded_worker_leaves_signals_alone(docket: Docket) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
    async with working(docket) as worker:
        await within(worker.has_claimed())
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)] == before


@pytest.mark.parametrize(
    "silent", [{"strikes"}, {"enqueue"}, {"claim"}, BESIDE], ids=["strikes", "seed", "claim", "rest"]
)
@pytest.mark.parametrize("how", ["cancel", "stop"])
async def test_case_28_start_up_ends_within_a_second_though_the_store_is_silent(
    docket_url: str, silent: set[str], how: str
) -> None:
    switches = Switches()
    switches.silent = set(silent)
    async with AwayDocket("away", docket_url, switches=switches) as docket:
        docket.register(seeded)
        async with Worker(docket) as worker:
            running = asyncio.create_task(worker.run_forever())
            await asyncio.sleep(0.1)
            began = asyncio.get_running_loop().time()
            if how == "cancel":
                running.cancel()
            else:
                worker.stop()
            await asyncio.wait([running], timeout=5)
            assert asyncio.get_running_loop().time() - began < 1
            assert running.done()
        switches.back()


@pytest.mark.parametrize(
    "silent", [EVERYTHING, frozenset({"renew"}), frozenset({"ack"}), frozenset({"release", "retire"})]
)
async def test_case_28_a_drain_that_is_cancelled_ends_within_a_second(away: AwayDocket, silent: frozenset[str]) -> None:
    begun, go_on = Signal(), Signal()

    async def hold(stubborn: bool) -> None:
        begun.give()
        while not go_on.given:
            try:
                await go_on.seen()
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    await away.add(hold)(False)
    await away.add(hold)(True)
    async with Worker(away) as worker:
        running = asyncio.create_task(worker.run_forever())
        await begun.seen()
        away.switches.silent = set(silent)
        running.cancel()
        await asyncio.sleep(0.1)
        assert not running.done()
        began = asyncio.get_running_loop().time()
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert asyncio.get_running_loop().time() - began < 1
        assert running.done()
    away.switches.back()
    go_on.give()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("turns", range(0, 40, 5))
async def test_case_28_cancelled_at_any_await_it_ends_within_a_second(docket: Docket, turns: int) -> None:
    docket.register(give)
    async with Worker(docket) as worker:
        running = asyncio.create_task(worker.run_forever())
        for _ in range(turns):
            await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(running, 3)
        assert asyncio.get_running_loop().time() - began < 1
    await docket.add(give)(1)
    await within(worker.run_until_finished())
    assert runs == ["1"]


def left_over() -> tuple[int, int, int]:
    """Threads, files and asyncio tasks."""
    gc.collect()
    return threading.active_count(), psutil.Process().num_fds(), len(asyncio.all_tasks())


OPENED_ONCE = 3


async def nothing_is_left_over(before: tuple[int, int, int]) -> None:
    """What ends a moment later is waited for; a file that a store opens once is none of many cycles' doing."""

    def none() -> bool:
        return all(now <= then + OPENED_ONCE for now, then in zip(left_over(), before, strict=True))

    with suppress(TimeoutError):
        await until(none, 5)
    assert none(), (left_over(), before)


async def test_case_28_starting_and_ending_again_and_again_leaves_nothing(docket: Docket) -> None:
    docket.register(give)

    async def cycle(number: int) -> None:
        await docket.add(give)(number)
        async with Worker(docket, name="again") as worker:
            await worker.run_until_finished()

    await cycle(-1)
    await asyncio.sleep(0.05)
    before = left_over()
    for number in range(CYCLES):
        await cycle(number)
    assert len(runs) == CYCLES + 1
    await nothing_is_left_over(before)
    assert await docket.workers() == []


CYCLES = int(os.environ.get("DOCKET_TEST_CYCLES", "250"))
"""A thousand in the long form."""


async def test_case_28_dockets_opened_and_closed_leave_nothing(docket_url: str) -> None:
    async def cycle() -> None:
        async with Docket("orders", docket_url) as docket:
            execution = await docket.add(give)(1)
            waiting = asyncio.create_task(execution.get_result())
            await asyncio.sleep(0)
            await work_off(docket)
            assert await within(waiting) == 1

    await cycle()
    before = left_over()
    for _ in range(15):
        await cycle()
    await nothing_is_left_over(before)
