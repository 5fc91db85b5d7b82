"""Cases 12 to 16: one key through add, cancel, replace, clear and the races between them."""

import asyncio
from datetime import timedelta

import pytest

from docket_core import (
    Disposition,
    Docket,
    ExecutionCancelled,
    ExecutionState,
    Retry,
)
from docket_core.backend.clock import ManualClock
from docket_core.backend.model import CancelReply
from tests.support.workers import LEASE, Signal, within, work_off, working

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


@pytest.mark.parametrize("when", [None, timedelta(milliseconds=1)])
async def test_case_12_a_key_is_free_right_after_its_end(docket: Docket, when: timedelta | None) -> None:
    for number in range(3):
        execution = await docket.add(note, when=when, key="k")(str(number))
        assert execution.disposition is Disposition.SCHEDULED
        await work_off(docket)
        assert await execution.get_result() == str(number)
    assert ran == ["0", "1", "2"]


async def test_case_12_after_a_clear_and_after_a_cancel(docket: Docket) -> None:
    await docket.add(note, when=HOUR, key="k")("cleared")
    await docket.clear()
    await docket.add(note, when=HOUR, key="k")("cancelled")
    await docket.cancel("k")
    assert (await docket.add(note, key="k")("ran")).disposition is Disposition.SCHEDULED
    await work_off(docket)
    assert ran == ["ran"]


async def test_case_12_during_retention_its_record_lives_as_long_as_a_new_ones(
    timed: Docket, clock: ManualClock
) -> None:
    retention = timed.execution_ttl
    await timed.add(note, key="k")("first")
    await work_off(timed)
    clock.advance(retention - timedelta(seconds=1))
    second = await timed.add(note, key="k")("second")
    await work_off(timed)
    clock.advance(retention - timedelta(microseconds=1))
    assert await second.get_result() == "second"
    clock.advance(timedelta(microseconds=1))
    assert await timed.get_execution("k") is None
    third = await timed.add(note, key="k")("third")
    assert third.disposition is Disposition.SCHEDULED
    await work_off(timed)
    assert await third.get_result() == "third"


async def test_case_12_a_run_that_waits_is_kept_though_the_last_one_expires(timed: Docket, clock: ManualClock) -> None:
    await timed.add(note, key="k")("first")
    await work_off(timed)
    second = await timed.add(note, when=timed.execution_ttl * 2, key="k")("second")
    clock.advance(timed.execution_ttl * 2)
    while await timed.backend.prune(100):
        pass
    await work_off(timed)
    assert await second.get_result() == "second"


async def test_case_13_cancel_of_scheduled_and_of_due_but_unclaimed(docket: Docket) -> None:
    for when in (HOUR, None, timedelta(seconds=-1)):
        execution = await docket.add(note, when=when, key="k")("x")
        assert await docket.cancel("k") is CancelReply.CANCELLED
        with pytest.raises(ExecutionCancelled):
            await execution.get_result()
    await work_off(docket)
    assert ran == []


async def test_case_13_cancel_of_running_stops_it(docket: Docket, other: Docket) -> None:
    begun, stopped = Signal(), Signal()

    async def endless() -> None:
        begun.give()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.give()

    async with working(docket):
        execution = await docket.add(endless, key="k")()
        await begun.seen()
        assert await other.cancel("k") is CancelReply.REQUESTED
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result(), 5)
        assert stopped.given
    assert await state_of(docket, "k") is ExecutionState.CANCELLED


async def test_case_13_cancel_of_running_is_seen_by_the_renewal_where_events_are_lost(
    docket: Docket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from docket_core.worker.services import Services

    async def deaf(_: Services) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(Services, "_hear_cancels", deaf)
    begun = Signal()

    async def endless() -> None:
        begun.give()
        await asyncio.sleep(3600)

    async with working(docket, redelivery_timeout=LEASE):
        execution = await docket.add(endless, key="k")()
        await begun.seen()
        await docket.cancel("k")
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result(), 5)


async def test_case_13_cancel_while_dependencies_are_being_resolved(docket: Docket) -> None:
    from collections.abc import AsyncGenerator
    from contextlib import asynccontextmanager

    from docket_core import Depends

    begun, closed = Signal(), list[str]()

    @asynccontextmanager
    async def first() -> AsyncGenerator[str, None]:
        try:
            yield "first"
        finally:
            closed.append("first")

    async def endless() -> str:
        begun.give()
        await asyncio.sleep(3600)
        return "never"

    async def task(one: str = Depends(first), two: str = Depends(endless)) -> None:
        ran.append("body")

    async with working(docket):
        execution = await docket.add(task, key="k")()
        await begun.seen()
        await docket.cancel("k")
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result(), 5)
    assert (ran, closed) == ([], ["first"])


async def test_case_13_a_body_that_ends_all_the_same_gives_its_own_verdict(docket: Docket) -> None:
    begun = Signal()

    async def stubborn() -> str:
        begun.give()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "ended after all"
        return "never"

    async with working(docket):
        execution = await docket.add(stubborn, key="k")()
        await begun.seen()
        await docket.cancel("k")
        assert await within(execution.get_result(), 5) == "ended after all"


async def test_case_13_cancel_of_a_task_that_would_be_retried_ends_it(docket: Docket) -> None:
    begun = Signal()

    async def flaky(retry: Retry = Retry(attempts=5)) -> None:
        ran.append("attempt")
        begun.give()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ValueError("in the middle of it") from None

    async with working(docket):
        execution = await docket.add(flaky, key="k")()
        await begun.seen()
        await docket.cancel("k")
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result(), 5)
    assert ran == ["attempt"]


async def test_case_13_cancel_of_finished_and_cancel_then_add(docket: Docket) -> None:
    execution = await docket.add(note, key="k")("done")
    await work_off(docket)
    assert await docket.cancel("k") is CancelReply.GONE
    assert await execution.get_result() == "done"
    await docket.add(note, key="k")("cancelled")
    await docket.cancel("k")
    again = await docket.add(note, key="k")("again")
    assert again.disposition is Disposition.SCHEDULED
    await work_off(docket)
    assert ran == ["done", "again"]


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_case_13_cancel_racing_claim_and_ack(docket: Docket, other: Docket, turns: int) -> None:
    """Whoever wins, all agree: a run that has ended is not cancelled, and one that was cancelled did not run on."""
    async with working(docket, concurrency=4):
        for number in range(8):
            execution = await docket.add(note, key="k")(str(number))
            for _ in range(turns):
                await asyncio.sleep(0)
            reply = await other.cancel("k")
            try:
                assert await within(execution.get_result()) == str(number)
                assert reply is not CancelReply.CANCELLED
                assert str(number) in ran
            except ExecutionCancelled:
                assert reply is not CancelReply.GONE
                assert reply is CancelReply.REQUESTED or str(number) not in ran
            await execution.sync()
            assert execution.state in (ExecutionState.COMPLETED, ExecutionState.CANCELLED)
