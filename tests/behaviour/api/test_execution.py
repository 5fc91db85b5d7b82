"""The handle on a run: its result, its progress, its events."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

import pytest

from docket_core import (
    CurrentExecution,
    Docket,
    Execution,
    ExecutionCancelled,
    ExecutionProgress,
    ExecutionState,
    ExecutionSuperseded,
    Logged,
    Perpetual,
    Progress,
    ResultExpired,
    Worker,
)
from docket_core.backend.clock import ManualClock
from tests.support.workers import Signal, until_async, within, work_off, working

HOUR = timedelta(hours=1)


async def divide(one: int, by: int = 1) -> float:
    return one / by


@pytest.mark.requirement("R-017")
async def test_results_and_failures_reach_who_waits_anywhere(docket: Docket, other: Docket) -> None:
    good = await docket.add(divide, key="good")(6, by=3)
    bad = await docket.add(divide, key="bad")(1, by=0)
    early = await other.get_execution("good")
    assert early is not None
    waiting = asyncio.create_task(early.get_result())
    await work_off(docket)
    assert await good.get_result() == 2
    assert await within(waiting) == 2
    with pytest.raises(ZeroDivisionError):
        await bad.get_result()
    late = await other.get_execution("bad")
    assert late is not None
    with pytest.raises(ZeroDivisionError):
        await late.get_result()


@pytest.mark.requirement("R-018")
async def test_waiting_has_an_end(docket: Docket) -> None:
    execution = await docket.add(divide, when=HOUR)(1)
    with pytest.raises(TimeoutError):
        await execution.get_result(timeout=timedelta(milliseconds=20))
    with pytest.raises(TimeoutError):
        await execution.get_result(deadline=datetime.now(UTC) + timedelta(milliseconds=20))
    with pytest.raises(ValueError, match="timeout or deadline, not both"):
        await execution.get_result(timeout=HOUR, deadline=datetime.now(UTC))


@pytest.mark.requirement("R-019")
async def test_who_waits_is_told_what_became_of_the_run(timed: Docket, clock: ManualClock) -> None:
    cancelled, replaced, expired = [await timed.add(divide, key=key)(1) for key in ("a", "b", "c")]
    waiting = [asyncio.create_task(execution.get_result()) for execution in (cancelled, replaced)]
    await asyncio.sleep(0)
    await timed.cancel("a")
    newer = await timed.replace(divide, None, "b")(2)
    await work_off(timed)
    with pytest.raises(ExecutionCancelled):
        await within(waiting[0])
    with pytest.raises(ExecutionSuperseded):
        await within(waiting[1])
    assert await newer.get_result() == 2
    clock.advance(timed.execution_ttl)
    with pytest.raises(ResultExpired):
        await expired.get_result()


@pytest.mark.requirement("R-020", "R-022")
async def test_events_and_progress(docket: Docket, other: Docket) -> None:
    go_on = Signal()

    async def load(progress: ExecutionProgress = Progress()) -> str:
        await progress.set_total(3)
        await asyncio.gather(progress.increment(), progress.increment())
        await progress.set_message("nearly")
        await go_on.seen()
        await progress.increment()
        return "loaded"

    execution = await docket.add(load, key="k", when=timedelta(milliseconds=50))()
    follower = await other.get_execution("k")
    assert follower is not None
    ready = asyncio.Event()
    told: list[str] = []
    furthest: list[int] = []

    async def follow() -> None:
        async for event in follower.subscribe(ready=ready):
            if event["type"] == "state":
                told.append(event["state"].value)
            else:
                furthest.append(event["current"])

    following = asyncio.create_task(follow())
    await within(ready.wait())
    async with working(docket):
        await until_async(lambda: _has_come_to(follower, 2))
        assert (follower.progress.total, follower.progress.message) == (3, "nearly")
        assert follower.progress.updated_at is not None
        go_on.give()
        assert await within(execution.get_result()) == "loaded"
        await within(following)
    assert told[0] in ("scheduled", "queued")  # its time may have come before it was followed
    assert told[-2:] == ["running", "completed"]
    assert furthest == sorted(furthest)
    assert furthest[-1] in (2, 3), "the last step may coalesce with the end"
    await follower.progress.sync()
    assert (follower.progress.current, follower.progress.total) == (0, None)
    with pytest.raises(RuntimeError, match="only the running task itself"):
        await follower.progress.increment()


async def _has_come_to(execution: Execution, current: int) -> bool:
    await execution.progress.sync()
    return execution.progress.current == current and execution.progress.message is not None


@pytest.mark.requirement("R-022")
async def test_progress_that_makes_no_sense_is_refused(docket: Docket) -> None:
    async def load(progress: ExecutionProgress = Progress()) -> list[str]:
        refused: list[str] = []
        for call in (progress.set_total(0), progress.increment(0), progress.increment(-1)):
            try:
                await call
            except ValueError as error:
                refused.append(str(error))
        return refused

    execution = await docket.add(load)()
    await work_off(docket)
    assert len(await execution.get_result()) == 3


@pytest.mark.requirement("R-021", "R-079")
async def test_arguments_and_what_is_shown_of_them(docket: Docket) -> None:
    async def send(
        to: Annotated[str, Logged()],
        text: str,
        copies: int = 1,
        execution: Execution = CurrentExecution(),
    ) -> None: ...

    execution = await docket.add(send, when=HOUR)("ann", text="private")
    assert [execution.get_argument(name) for name in ("to", "text", "copies")] == ["ann", "private", 1]
    for name in ("execution", "nothing"):
        with pytest.raises(KeyError):
            execution.get_argument(name)
    assert execution.call_repr() == "send('ann', text=...)"


@pytest.mark.requirement("R-026", "R-027")
async def test_running_until_finished_and_at_most(moving: Docket) -> None:
    ran: list[int] = []

    async def beat(perpetual: Perpetual = Perpetual(every=HOUR)) -> None:
        ran.append(len(ran) + 1)

    async def once() -> None: ...

    await moving.add(beat, key="beat")()
    last = await moving.add(once, when=2 * HOUR)()
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"beat": 3}))
    assert ran == [1, 2, 3]
    await last.sync()
    assert last.state is ExecutionState.COMPLETED
    assert (await moving.snapshot()).total_tasks == 0
    await work_off(moving)  # with nothing to do it ends at once
