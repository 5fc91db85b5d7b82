"""Cases 14 to 16: one key through replace and clear, and many who want it."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from docket_core import (
    CurrentExecution,
    Disposition,
    Docket,
    Execution,
    ExecutionState,
    ExecutionSuperseded,
)
from docket_core.backend.clock import ManualClock
from tests.support.workers import Signal, until_async, within, work_off, working

HOUR = timedelta(hours=1)


ran: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


async def note(text: str) -> str:
    ran.append(text)
    return text


async def state_of(docket: Docket, key: str) -> ExecutionState | None:
    execution = await docket.get_execution(key)
    return execution.state if execution is not None else None


async def settled(docket: Docket) -> bool:
    return (await docket.snapshot()).total_tasks == 0


async def test_case_14_replace_of_a_running_task_waits_for_its_end(docket: Docket, other: Docket) -> None:
    begun, go_on = Signal(), Signal()

    async def old(execution: Execution = CurrentExecution()) -> str:
        begun.give()
        await go_on.seen()
        await execution.progress.increment(50)
        ran.append("old")
        return "old"

    async with working(docket):
        first = await docket.add(old, key="k")()
        await begun.seen()
        waiting = asyncio.create_task(first.get_result())
        second = await other.replace(note, None, "k")("new")
        third = await docket.replace(note, None, "k")("newest")
        with pytest.raises(ExecutionSuperseded):
            await within(waiting)
        assert ran == []
        go_on.give()
        assert await within(third.get_result()) == "newest"
    assert ran == ["old", "newest"]
    for superseded in (first, second):
        with pytest.raises(ExecutionSuperseded):
            await superseded.get_result()
    await third.progress.sync()
    assert third.progress.current == 0


async def test_case_14_replace_of_the_same_again_and_again_runs_once(docket: Docket) -> None:
    replaced = [await docket.replace(note, timedelta(milliseconds=1), "k")(str(number)) for number in range(20)]
    await work_off(docket)
    assert ran == ["19"]
    assert await replaced[-1].get_result() == "19"


async def test_case_15_clear_under_load_spares_what_comes_after_it_and_what_runs(docket: Docket, other: Docket) -> None:
    begun, go_on = Signal(), Signal()

    async def hold() -> str:
        begun.give()
        await go_on.seen()
        return "held"

    docket.register(note)
    other.register(note)
    async with working(docket, concurrency=1):
        held = await docket.add(hold)()
        await begun.seen()
        await docket.add_many([docket.call(note, key=f"before {number}")("before") for number in range(700)])
        clearing = asyncio.create_task(other.clear())
        await asyncio.sleep(0)
        beside = await docket.add_many([docket.call(note, key=f"beside {number}")("beside") for number in range(50)])
        cleared = await within(clearing)
        assert 700 <= cleared <= 750
        after = await other.add_many([other.call(note, key=f"after {number}")("after") for number in range(50)])
        go_on.give()
        assert await within(held.get_result()) == "held"
        for execution in after:
            assert await within(execution.get_result()) == "after"
    ends = [await state_of(docket, execution.key) for execution in beside]
    assert ends.count(ExecutionState.CANCELLED) == cleared - 700
    assert "before" not in ran


async def test_case_15_a_running_task_keeps_its_redelivery_through_a_clear(timed: Docket, clock: ManualClock) -> None:
    execution = await timed.add(note, key="k")("again")
    claimed = await timed.backend.claim("dies", timed.functions.names, 1, 1_000_000)
    assert len(claimed.claims) == 1
    assert await timed.clear() == 0
    clock.advance(timedelta(seconds=2))
    await work_off(timed)
    assert await execution.get_result() == "again"


async def test_case_16_of_32_adders_of_one_key_one_is_accepted(docket: Docket, other: Docket) -> None:
    answers = await asyncio.gather(
        *((docket if number % 2 else other).add(note, when=HOUR, key="once")(str(number)) for number in range(32))
    )
    dispositions = [execution.disposition for execution in answers]
    assert sorted(dispositions) == [Disposition.ALREADY_SCHEDULED] * 31 + [Disposition.SCHEDULED]
    assert len({execution.run for execution in answers}) == 1
    winner = answers[dispositions.index(Disposition.SCHEDULED)]
    kept = await docket.get_execution("once")
    assert kept is not None
    assert kept.args == winner.args


async def test_case_16_adders_that_race_with_the_run_run_it_once_each_time(docket: Docket, other: Docket) -> None:
    docket.register(note)
    async with working(docket):
        for number in range(10):
            answers = await asyncio.gather(*(other.add(note, key="once")(str(number)) for _ in range(8)))
            accepted = sum(execution.disposition is Disposition.SCHEDULED for execution in answers)
            for execution in answers:
                with suppress(*([ExecutionSuperseded] if accepted > 1 else [])):  # one ended before another add came
                    assert await within(execution.get_result()) == str(number)
            await until_async(lambda: settled(docket))
            assert ran.count(str(number)) == accepted
