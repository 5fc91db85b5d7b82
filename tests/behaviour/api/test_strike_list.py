"""Strikes: what they stop, where they are kept, and a list that stands alone."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from docket_core import Disposition, Docket, ExecutionState, StrikeList
from docket_core.backend.observed import ObservedBackend
from docket_core.backend.records import StrikeEvent, StrikeRule, StrikesCaughtUp, StrikesReset
from tests.support.workers import until, within, work_off

ran: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


@pytest.fixture
async def alone(docket_url: str) -> AsyncGenerator[StrikeList, None]:
    """A list without a docket."""
    async with StrikeList(docket_url, "orders") as strikes:
        await within(strikes.wait_for_strikes_loaded())
        yield strikes


async def send(to: str, amount: float = 1) -> None:
    ran.append(to)


class Late(ObservedBackend):
    """Tells of strikes one by one, when it is asked to."""

    def __init__(self, docket: Docket) -> None:
        super().__init__(docket.backend)
        self._turns = asyncio.Semaphore(0)
        self._taken = asyncio.Event()

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[AsyncIterator[StrikeEvent], None]:
        async with self.inner.strikes() as events:
            yield self._one_by_one(events)

    async def _one_by_one(self, events: AsyncIterator[StrikeEvent]) -> AsyncIterator[StrikeEvent]:
        await self._turns.acquire()
        async for event in events:
            yield event
            self._taken.set()
            await self._turns.acquire()

    async def tell(self) -> None:
        """Tell of the next one; returns once it was heard."""
        self._taken.clear()
        self._turns.release()
        await within(self._taken.wait())


async def rules(docket: Docket) -> list[StrikeRule]:
    """What the store keeps."""
    found: list[StrikeRule] = []
    async with docket.backend.strikes() as events:
        async for event in events:
            if isinstance(event, StrikesCaughtUp):
                break
            assert isinstance(event, StrikeRule)
            found.append(event)
    return found


@pytest.mark.requirement("R-070")
async def test_a_struck_task_is_not_scheduled(docket: Docket) -> None:
    await docket.strike(send, "to", "==", "mallory")
    struck = await docket.add(send)("mallory")
    assert struck.disposition is Disposition.STRUCK
    assert (await docket.add(send)("ann")).disposition is Disposition.SCHEDULED
    assert (await docket.snapshot()).total_tasks == 1
    await docket.restore(send, "to", "==", "mallory")
    assert (await docket.add(send)("mallory")).disposition is Disposition.SCHEDULED


@pytest.mark.requirement("R-070")
async def test_what_the_store_tells_late_does_not_undo_what_was_said_since(docket: Docket, other: Docket) -> None:
    late = Late(docket)
    async with StrikeList(name=docket.name, backend=late) as strikes:
        await late.tell()
        await strikes.wait_for_strikes_loaded()
        await strikes.strike(send)
        await other.strike("send")
        await strikes.restore(send)
        await strikes.strike(send, "to", "==", "mallory")
        for _ in range(3):
            assert [rule.parameter for rule in strikes.strikes] == ["to"]
            await late.tell()
        assert [rule.parameter for rule in strikes.strikes] == ["to"]
        await other.restore("send", "to", "==", "mallory")
        for _ in range(2):
            assert [rule.parameter for rule in strikes.strikes] == ["to"]
            await late.tell()
        assert strikes.strikes == []


@pytest.mark.requirement("R-070")
async def test_the_history_takes_back_what_others_have_taken_back(docket: Docket, other: Docket) -> None:
    strikes = StrikeList(name=docket.name, backend=docket.backend)
    await strikes.strike(send, "to", "==", "ann")
    await strikes.strike(send, "to", "==", "mallory")
    await other.restore("send", "to", "==", "ann")
    assert [rule.value for rule in strikes.strikes] == ["ann", "mallory"]
    async with strikes:
        await within(strikes.wait_for_strikes_loaded())
        assert [rule.value for rule in strikes.strikes] == ["mallory"]


@pytest.mark.requirement("R-070")
async def test_what_was_taken_back_while_nobody_listened_is_not_in_force_any_more(
    docket: Docket, other: Docket
) -> None:
    strikes = StrikeList(name=docket.name, backend=docket.backend)
    for function in ("send", "other"):
        async with strikes:
            await within(strikes.wait_for_strikes_loaded())
            await strikes.strike(function)
        await other.restore(function)
    async with strikes:
        await within(strikes.wait_for_strikes_loaded())
        assert strikes.strikes == []


class Lost(Late):
    """A store that loses what it has acknowledged: it stands at the fifth instruction again."""

    instruction: bytes | None = None

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        self.rule, self.instruction = rule_id, instruction
        return 1000

    async def _one_by_one(self, events: AsyncIterator[StrikeEvent]) -> AsyncIterator[StrikeEvent]:
        del events

        async def told() -> AsyncIterator[StrikeEvent]:
            yield StrikesCaughtUp(999)
            yield StrikesReset()
            yield StrikesCaughtUp(5)
            yield StrikeRule(self.rule, self.instruction, 6)
            yield StrikeRule(self.rule, None, 7)

        async for event in super()._one_by_one(told()):
            yield event
        await asyncio.Event().wait()


@pytest.mark.requirement("R-070")
async def test_what_the_store_has_lost_is_not_in_force_for_ever(docket: Docket) -> None:
    store = Lost(docket)
    async with StrikeList(name=docket.name, backend=store) as strikes:
        await store.tell()
        await strikes.strike(send)
        in_force: list[bool] = []
        for _ in range(4):
            in_force.append(strikes.in_effect)
            await store.tell()
        assert in_force == [True, True, False, True]
        assert not strikes.in_effect


@pytest.mark.requirement("R-070")
async def test_a_task_that_was_struck_meanwhile_does_not_run(docket: Docket, other: Docket) -> None:
    execution = await docket.add(send)("mallory")
    await docket.add(send)("ann")
    await other.strike("send", "to", "==", "mallory")
    await until(lambda: docket.strike_list.in_effect)
    await work_off(docket)
    await execution.sync()
    assert execution.state is ExecutionState.CANCELLED
    assert ran == ["ann"]


@pytest.mark.requirement("R-070")
async def test_by_function_and_by_parameter_of_any_function(docket: Docket) -> None:
    async def other_task(to: str) -> None: ...

    await docket.strike(parameter="to", value="mallory")
    assert (await docket.add(send)("mallory")).disposition is Disposition.STRUCK
    assert (await docket.add(other_task)(to="mallory")).disposition is Disposition.STRUCK
    await docket.strike(send)
    assert (await docket.add(send)("ann")).disposition is Disposition.STRUCK
    assert (await docket.add(other_task)("ann")).disposition is Disposition.SCHEDULED


@pytest.mark.requirement("R-071")
@pytest.mark.parametrize(
    ("operator", "value", "struck"),
    [
        ("==", 5, [5]),
        ("!=", 5, [4, 6]),
        (">", 5, [6]),
        (">=", 5, [5, 6]),
        ("<", 5, [4]),
        ("<=", 5, [4, 5]),
        ("between", (5, 6), [5, 6]),
        ("between", [4, 4], [4]),
    ],
)
async def test_operators(docket: Docket, operator: str, value: object, struck: list[int]) -> None:
    await docket.strike(send, "amount", operator, value)
    dispositions = {amount: (await docket.add(send)("ann", amount)).disposition for amount in (4, 5, 6)}
    assert [amount for amount, found in dispositions.items() if found is Disposition.STRUCK] == struck
    await docket.restore(send, "amount", operator, value)
    await until(lambda: not docket.strike_list.in_effect)


@pytest.mark.requirement("R-071")
async def test_what_cannot_be_compared_is_logged_and_not_struck(
    docket: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    await docket.strike(send, "amount", ">", "many")
    assert (await docket.add(send)("ann", 5)).disposition is Disposition.SCHEDULED
    assert "a strike on send.amount > cannot be compared" in caplog.text


@pytest.mark.requirement("R-071")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "a strike names a function, a parameter, or both"),
        ({"parameter": "to", "operator": "~"}, "unknown operator '~'; known are: ==, !="),
        ({"parameter": "to", "operator": "between", "value": 5}, "takes a pair of values"),
    ],
)
async def test_a_strike_that_makes_no_sense_is_refused(docket: Docket, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        await docket.strike(**arguments)
    assert await rules(docket) == []


@pytest.mark.requirement("R-072")
async def test_a_list_that_stands_alone_follows_and_is_followed(docket: Docket, alone: StrikeList) -> None:
    await docket.strike(parameter="customer", operator=">=", value=10)
    await until(lambda: alone.in_effect)
    assert alone.is_stricken({"customer": 10})
    assert not alone.is_stricken({"customer": 9})
    assert not alone.is_stricken({"other": 10})
    await alone.restore(parameter="customer", operator=">=", value=10)
    assert not alone.in_effect
    await alone.strike("send")
    await until(lambda: [strike.function for strike in docket.strike_list.strikes] == ["send"])
    assert not alone.is_stricken({"customer": 10}), "a strike of a function says nothing of parameters alone"
    execution = await docket.add(send)("ann")
    assert execution.disposition is Disposition.STRUCK
    assert alone.is_stricken(execution)


@pytest.mark.requirement("R-072")
async def test_a_list_without_a_url_knows_what_it_is_told() -> None:
    async with StrikeList() as strikes:
        await within(strikes.wait_for_strikes_loaded())
        await strikes.strike(parameter="customer", value=1)
        assert strikes.is_stricken({"customer": 1})


@pytest.mark.requirement("R-072", "R-073")
async def test_who_comes_later_knows_what_is_in_force(docket: Docket, docket_url: str) -> None:
    await docket.strike(send, "to", "==", "mallory")
    await docket.strike(send, "to", "==", "eve")
    await docket.restore(send, "to", "==", "eve")
    async with StrikeList(docket_url, "orders") as strikes, Docket("orders", docket_url) as late:
        await within(strikes.wait_for_strikes_loaded())
        await within(late.wait_for_strikes_loaded())
        for found in (strikes.strikes, late.strike_list.strikes):
            assert [(strike.function, strike.parameter, strike.value) for strike in found] == [
                ("send", "to", "mallory")
            ]


@pytest.mark.requirement("R-073")
async def test_the_log_holds_only_what_is_in_force(docket: Docket) -> None:
    for value in range(100):
        await docket.strike(send, "amount", "==", value)
        if value != 50:
            await docket.restore(send, "amount", "==", value)
    assert len(await rules(docket)) == 1


@pytest.mark.requirement("R-073")
@pytest.mark.parametrize("value", ["to", (1, "to"), None, 1.5, datetime(2030, 1, 1, tzinfo=UTC), b"x", {"a": 1}])
async def test_equal_rules_collapse_however_they_were_made(docket: Docket, value: object) -> None:
    """Equal, but not the same objects: what was struck in one program is restored in another."""
    name = "".join(["t", "o"])
    await docket.strike("send", "to", "==", value)
    await docket.strike("".join(["se", "nd"]), name, "==", value)
    assert len(await rules(docket)) == 1
    await docket.restore(send, name, "==", value if value != "to" else "to")
    assert await rules(docket) == []


@pytest.mark.requirement("R-074")
async def test_one_that_cannot_be_read_is_skipped_counted_and_logged(
    docket: Docket, alone: StrikeList, caplog: pytest.LogCaptureFixture
) -> None:
    await docket.backend.strike("rule", b"no pickle at all")
    await docket.strike(send, "to", "==", "mallory")
    await until(lambda: alone.in_effect and alone.undecodable == 1)
    assert "skipped a strike that cannot be read" in caplog.text
    await work_off(docket)  # a worker starts all the same
    assert (await docket.add(send)("mallory")).disposition is Disposition.STRUCK


@pytest.mark.requirement("R-075")
async def test_a_condition_strikes_here_only(docket: Docket, other: Docket) -> None:
    other.register(send)

    def large(execution: Any) -> bool:
        return bool(execution.get_argument("amount") > 100)

    docket.strike_list.add_condition(large)
    assert (await docket.add(send)("ann", 101)).disposition is Disposition.STRUCK
    assert (await docket.add(send)("ann", 100)).disposition is Disposition.SCHEDULED
    assert (await other.add("send")("ann", 101)).disposition is Disposition.SCHEDULED
    docket.strike_list.remove_condition(large)
    assert (await docket.add(send)("ann", 101)).disposition is Disposition.SCHEDULED
    with pytest.raises(ValueError, match="not in list"):
        docket.strike_list.remove_condition(large)


@pytest.mark.requirement("R-075")
async def test_a_condition_that_raises_strikes_nothing(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    def broken(execution: Any) -> bool:
        raise LookupError("no such thing")

    docket.strike_list.add_condition(broken)
    with caplog.at_level(logging.WARNING):
        execution = await docket.add(send)("ann")
    assert execution.disposition is Disposition.SCHEDULED
    await work_off(docket)
    assert ran == ["ann"]
    assert "LookupError" in caplog.text


@pytest.mark.requirement("R-070")
async def test_strikes_of_one_docket_are_not_anothers(docket: Docket, docket_url: str) -> None:
    async with Docket("elsewhere", docket_url) as elsewhere:
        await docket.strike(send)
        await asyncio.sleep(0)
        await within(elsewhere.wait_for_strikes_loaded())
        assert (await elsewhere.add(send)("ann")).disposition is Disposition.SCHEDULED


@pytest.mark.requirement("R-070")
async def test_racing_instructions_end_the_same_everywhere(docket: Docket, other: Docket) -> None:
    """Whatever order the store gives them, all lists come to what the store keeps."""
    for _ in range(20):
        await asyncio.gather(docket.strike("send"), other.restore("send"), docket.restore("send"), other.strike("send"))
    kept = len(await rules(docket))
    await until(lambda: len(docket.strike_list.strikes) == len(other.strike_list.strikes) == kept)


@pytest.mark.requirement("R-070", "R-073")
async def test_a_pair_is_a_pair_however_it_is_written(docket: Docket) -> None:
    await docket.strike(send, "amount", "between", (1, 5))
    await docket.strike(send, "amount", "between", [1, 5])
    assert len(await rules(docket)) == 1
    await docket.restore(send, "amount", "between", [1, 5])
    assert await rules(docket) == []
