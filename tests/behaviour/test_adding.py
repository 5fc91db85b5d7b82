"""Putting tasks on a docket, replacing, cancelling and clearing them."""

from datetime import UTC, datetime, timedelta

import pytest

from docket_core import Disposition, Docket, Execution, ExecutionState, TaskCall
from docket_core.backend.clock import ManualClock
from docket_core.backend.model import CancelReply
from docket_core.errors import PayloadTooLarge, Unserializable
from tests.support.workers import Signal, within, work_off, working

HOUR = timedelta(hours=1)


async def note(text: str, *, loud: bool = False) -> str:
    return text.upper() if loud else text


async def state_of(docket: Docket, key: str) -> ExecutionState:
    execution = await docket.get_execution(key)
    assert execution is not None
    return execution.state


async def test_now_is_queued_and_later_is_scheduled(docket: Docket) -> None:
    now = await docket.add(note)("now")
    later = await docket.add(note, when=HOUR)("later")
    assert (now.disposition, now.state) == (Disposition.SCHEDULED, ExecutionState.QUEUED)
    assert (later.disposition, later.state) == (Disposition.SCHEDULED, ExecutionState.SCHEDULED)
    assert await state_of(docket, now.key) is ExecutionState.QUEUED
    assert await state_of(docket, later.key) is ExecutionState.SCHEDULED


async def test_without_a_key_it_gets_one_of_its_own(docket: Docket) -> None:
    first, second = await docket.add(note)("a"), await docket.add(note)("b")
    assert first.key != second.key
    assert first.key[14] == "7"  # a UUID of version 7


async def test_a_delay_counts_from_the_stores_now(timed: Docket, clock: ManualClock) -> None:
    execution = await timed.add(note, when=timedelta(minutes=5))("a")
    assert execution.when == datetime(2030, 1, 1, 0, 5, tzinfo=UTC)
    clock.advance(timedelta(minutes=5) - timedelta(microseconds=1))
    assert await state_of(timed, execution.key) is ExecutionState.SCHEDULED
    clock.advance(timedelta(microseconds=1))
    assert await state_of(timed, execution.key) is ExecutionState.QUEUED


async def test_arguments_arrive_as_they_were_given(docket: Docket, other: Docket) -> None:
    arguments: list[object] = []

    async def take(*args: object, **kwargs: object) -> None:
        arguments.extend([args, kwargs])

    other.register(take)
    execution = await docket.add(take)(1, "two", {3: [4]}, five=datetime(2030, 1, 1, tzinfo=UTC), six=None)
    await work_off(other)
    assert arguments == [(1, "two", {3: [4]}), {"five": datetime(2030, 1, 1, tzinfo=UTC), "six": None}]
    assert await execution.get_result() is None


async def test_a_key_that_is_taken_is_kept_as_it_is(docket: Docket, other: Docket) -> None:
    first = await docket.add(note, when=HOUR, key="once")("first")
    second = await other.add(note, key="once")("second")
    assert second.disposition is Disposition.ALREADY_SCHEDULED
    assert (second.run, second.when) == (first.run, first.when)
    kept = await docket.get_execution("once")
    assert kept is not None
    assert kept.args == ("first",)


async def test_who_lost_an_add_follows_the_run_that_won(docket: Docket) -> None:
    await docket.add(note, key="once")("first")
    second = await docket.add(note, key="once")("second")
    await work_off(docket)
    assert await second.get_result() == "first"


async def test_a_running_key_is_kept(docket: Docket) -> None:
    begun, go_on = Signal(), Signal()

    async def hold() -> str:
        begun.give()
        await go_on.seen()
        return "held"

    async with working(docket):
        first = await docket.add(hold, key="once")()
        await begun.seen()
        second = await docket.add(hold, key="once")()
        assert second.disposition is Disposition.ALREADY_SCHEDULED
        assert second.state is ExecutionState.RUNNING
        go_on.give()
        assert await within(second.get_result()) == await within(first.get_result()) == "held"


async def test_many_are_added_in_their_order(docket: Docket) -> None:
    docket.register(note)
    calls = [docket.call(note, key=f"n{number}")(str(number)) for number in range(2500)]
    executions = await docket.add_many(calls)
    assert [execution.key for execution in executions] == [f"n{number}" for number in range(2500)]
    assert {execution.disposition for execution in executions} == {Disposition.SCHEDULED}
    again = await docket.add_many(calls[:3])
    assert [execution.disposition for execution in again] == [Disposition.ALREADY_SCHEDULED] * 3
    assert (await docket.snapshot()).total_tasks == 2500


async def test_one_item_of_many_that_is_refused_harms_no_other(docket: Docket) -> None:
    docket.register(note)
    executions = await docket.add_many(
        [
            docket.call(note)("fine"),
            docket.call(note, key="")("no key"),
            docket.call(note)(open),
            docket.call(note)("x" * (1 << 20)),
            docket.call(note, when=HOUR)("fine too"),
            docket.call(note)(n for n in range(3)),
        ]
    )
    dispositions = [execution.disposition for execution in executions]
    good, bad = Disposition.SCHEDULED, Disposition.FAILED
    assert dispositions == [good, bad, good, bad, good, bad]
    assert "empty" in str(executions[1].error)
    assert "1,048,576" in str(executions[3].error)
    assert "generator" in str(executions[5].error)
    assert (await docket.snapshot()).total_tasks == 3


async def test_replacing_many_needs_keys(docket: Docket) -> None:
    docket.register(note)
    await docket.add(note, when=HOUR, key="a")("old")
    replaced, refused = await docket.replace_many([docket.call(note, key="a")("new"), docket.call(note)("keyless")])
    assert replaced.disposition is Disposition.SCHEDULED
    assert refused.disposition is Disposition.FAILED
    await work_off(docket)
    assert await replaced.get_result() == "new"


async def test_a_call_touches_nothing(docket: Docket) -> None:
    call = docket.call(note, when=HOUR, key="k")("a", loud=True)
    assert call == TaskCall("note", ("a",), {"loud": True}, "k", HOUR)
    assert (await docket.snapshot()).total_tasks == 0


async def test_a_payload_that_is_too_large_or_cannot_be_encoded_is_refused(docket: Docket) -> None:
    with pytest.raises(PayloadTooLarge):
        await docket.add(note)("x" * (1 << 20))
    with pytest.raises(Unserializable, match="generator"):
        await docket.add("note")(character for character in "abc")
    assert (await docket.snapshot()).total_tasks == 0


async def test_replace_adds_what_is_unknown_and_overwrites_what_waits(docket: Docket) -> None:
    first = await docket.replace(note, HOUR, "k")("first")
    second = await docket.replace(note, None, "k")("second")
    assert first.disposition is second.disposition is Disposition.SCHEDULED
    assert second.generation > first.generation
    await work_off(docket)
    assert await second.get_result() == "second"
    assert (await docket.snapshot()).total_tasks == 0


async def test_an_execution_made_by_hand_can_be_scheduled(docket: Docket) -> None:
    docket.register(note)
    execution = Execution(docket, note, ("by hand",), {"loud": True}, "hand", attempt=3)
    dispositions = [execution.disposition]
    await docket.schedule(execution)
    dispositions.append(execution.disposition)
    assert dispositions == [Disposition.LOADED, Disposition.SCHEDULED]
    kept = await docket.get_execution("hand")
    assert kept is not None
    assert (kept.attempt, kept.kwargs) == (3, {"loud": True})
    await Execution(docket, note, ("instead",), key="hand").schedule(replace=True)
    await work_off(docket)
    replaced = await docket.get_execution("hand")
    assert replaced is not None
    assert await replaced.get_result() == "instead"


async def test_cancel_answers_what_it_did(docket: Docket) -> None:
    assert await docket.cancel("nobody") is CancelReply.GONE
    await docket.add(note, when=HOUR, key="k")("a")
    assert await docket.cancel("k") is CancelReply.CANCELLED
    assert await docket.cancel("k") is CancelReply.GONE
    assert await state_of(docket, "k") is ExecutionState.CANCELLED


async def test_clear_ends_what_waits_and_counts_it(docket: Docket) -> None:
    docket.register(note)
    await docket.add_many([docket.call(note, when=HOUR if number % 2 else None)(str(number)) for number in range(1200)])
    assert await docket.clear() == 1200
    assert await docket.clear() == 0
    assert (await docket.snapshot()).total_tasks == 0


async def test_get_execution_is_none_for_what_was_never_there(docket: Docket) -> None:
    assert await docket.get_execution("nobody") is None


async def test_get_execution_shows_what_stands_there(docket: Docket, other: Docket) -> None:
    added = await docket.add(note, when=HOUR, key="k")("a", loud=True)
    found = await other.get_execution("k")
    assert found is not None
    assert (found.key, found.function_name, found.args, found.kwargs) == ("k", "note", ("a",), {"loud": True})
    assert (found.when, found.run, found.disposition) == (added.when, added.run, Disposition.LOADED)
    with pytest.raises(KeyError, match="note"):  # it is not registered there: a placeholder stands for it
        await found.function()
