"""Case 19: limits are kept, nobody waits without cause, and what nobody knows is in nobody's way."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from docket_core import Docket, Worker
from docket_core.backend.clock import ManualClock
from docket_core.backend.model import CancelReply, Task
from docket_core.dependencies import ConcurrencyLimit
from tests.support.workers import Signal, until, until_async, within, working

runs: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    runs.clear()


async def parked_are(docket: Docket, number: int) -> bool:
    return sum(row.parked for row in (await docket.snapshot()).counts) == number


async def lose(worker: Worker, running: "asyncio.Task[None]") -> None:
    """Let a worker vanish: nothing that it says arrives any more."""
    from docket_core.worker.acker import Acker

    async def unheard(*_: object) -> list[object]:
        await asyncio.sleep(3600)
        return []

    acker = worker._acker  # pyright: ignore[reportPrivateUsage]
    assert isinstance(acker, Acker)
    acker._send = unheard  # type: ignore[method-assign, assignment]  # pyright: ignore
    worker.stop()
    worker.stop()
    await within(running)


async def nothing_left(docket: Docket) -> bool:
    return (await docket.snapshot()).total_tasks == 0


STRANGERS = 100_000


async def test_case_20_a_parked_task_can_be_cancelled_replaced_and_cleared(docket: Docket) -> None:
    begun, go_on = Signal(), Signal()

    async def alone(number: int, limit: ConcurrencyLimit = ConcurrencyLimit()) -> int:
        runs.append(number)
        begun.give()
        await go_on.seen()
        return number

    async with working(docket):
        first = await docket.add(alone)(1)
        await begun.seen()
        parked = [await docket.add(alone, key=f"p{number}")(number) for number in range(2, 6)]
        await until_async(lambda: parked_are(docket, 4))
        assert await docket.cancel("p2") is CancelReply.CANCELLED
        replaced = await docket.replace(alone, None, "p3")(33)
        await until_async(lambda: parked_are(docket, 3))
        go_on.give()
        for execution, value in ((first, 1), (replaced, 33), (parked[2], 4), (parked[3], 5)):
            assert await within(execution.get_result()) == value
    assert sorted(runs) == [1, 4, 5, 33]
    assert (await docket.snapshot()).total_tasks == 0


async def test_case_19_never_above_the_limit_and_never_idle_below_it(docket: Docket, other: Docket) -> None:
    running, most = 0, 0

    async def limited(limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=3)) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    docket.register(limited)
    other.register(limited)
    await docket.add_many([docket.call(limited)() for _ in range(40)])
    async with Worker(docket) as worker, working(other, name="two"):
        await within(worker.run_until_finished())
    assert most == 3
    assert (await docket.snapshot()).total_tasks == 0


async def test_case_19_holders_all_lost_a_waiter_starts_though_there_is_no_new_traffic(
    timed: Docket, clock: ManualClock
) -> None:
    async def alone(name: str, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        runs.append(name)
        if name == "holder" and len(runs) == 1:
            await asyncio.sleep(3600)

    async with Worker(timed, name="dies", concurrency=2) as doomed:
        running = asyncio.create_task(doomed.run_forever())
        await timed.add(alone)("holder")
        await until(lambda: runs == ["holder"])
        await timed.add(alone)("waiter")
        await until_async(lambda: parked_are(timed, 1))
        await lose(doomed, running)
    async with working(timed, name="lives"):
        clock.advance(timedelta(seconds=31))
        await until(lambda: "waiter" in runs)
        await until_async(lambda: nothing_left(timed))
    assert runs.count("waiter") == 1


@pytest.mark.usefixtures("untraced")
async def test_case_19_unknown_tasks_in_front_do_not_slow_a_claim(docket: Docket) -> None:
    async def known() -> str:
        return "known"

    clock = asyncio.get_running_loop().time

    async def claim_takes() -> float:
        best = 1.0
        for _ in range(20):
            began = clock()
            await docket.backend.claim("w", frozenset({"known"}), 0, 1_000_000)
            best = min(best, clock() - began)
        return best

    docket.register(known)
    without = await claim_takes()
    for start in range(0, STRANGERS, 1000):
        keys = [f"s{start + number}" for number in range(1000)]
        await docket.backend.enqueue([Task(key, "strange", b"", key) for key in keys])
    assert await claim_takes() < 5 * without + 0.005
    async with working(docket):
        execution = await docket.add(known)()
        assert await within(execution.get_result(), 5) == "known"
    assert (await docket.snapshot()).unknown == {"strange": STRANGERS}
