"""Strikes: at scheduling and at run, by function, parameter and condition."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from docket_core import Disposition, Docket, Execution, ExecutionCancelled, Operator, StrikeList
from tests.support.workers import until, within, work_off

ran: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


async def bill(customer: str, amount: float = 0.0) -> None:
    ran.append((customer, amount))


async def ship(customer: str) -> None:
    ran.append(customer)


async def test_a_struck_function_is_not_scheduled(docket: Docket) -> None:
    await docket.strike(bill)
    execution = await docket.add(bill)("ann")
    assert execution.disposition is Disposition.STRUCK
    replaced = await docket.replace(bill, None, "k")("ann")
    assert replaced.disposition is Disposition.STRUCK
    many = await docket.add_many([docket.call(bill)("ann"), docket.call(docket.register(ship))("bob")])
    assert [item.disposition for item in many] == [Disposition.STRUCK, Disposition.SCHEDULED]
    await work_off(docket)
    assert ran == ["bob"]


async def test_a_task_that_was_there_before_is_not_run(docket: Docket, other: Docket) -> None:
    execution = await docket.add(bill)("ann")
    other.register(bill)
    await docket.strike(bill)
    await work_off(other)
    assert ran == []
    with pytest.raises(ExecutionCancelled, match="struck"):
        await execution.get_result()


async def test_a_strike_reaches_everyone_and_can_be_taken_back(docket: Docket, other: Docket) -> None:
    await docket.strike("bill", "customer", "==", "ann")
    await until(lambda: other.strike_list.in_effect)
    assert (await other.add(bill)("ann")).disposition is Disposition.STRUCK
    assert (await other.add(bill)("bob")).disposition is Disposition.SCHEDULED
    await other.restore("bill", "customer", "==", "ann")
    await until(lambda: not docket.strike_list.in_effect)
    assert (await docket.add(bill)("ann")).disposition is Disposition.SCHEDULED


async def test_a_strike_is_there_for_who_comes_later(docket: Docket, docket_url: str) -> None:
    await docket.strike(bill, "customer", "==", "ann")
    async with Docket(docket.name, docket_url) as late:
        await within(late.wait_for_strikes_loaded())
        assert (await late.add(bill)("ann")).disposition is Disposition.STRUCK


async def test_a_parameter_can_be_struck_for_every_function(docket: Docket) -> None:
    await docket.strike(None, "customer", "==", "ann")
    for task in (bill, ship):
        assert (await docket.add(task)("ann")).disposition is Disposition.STRUCK
        assert (await docket.add(task)(customer="ann")).disposition is Disposition.STRUCK
        assert (await docket.add(task)("bob")).disposition is Disposition.SCHEDULED


@pytest.mark.parametrize(
    ("operator", "value", "struck"),
    [
        ("==", 5, [5]),
        ("!=", 5, [3, 4, 6, 7]),
        (">", 5, [6, 7]),
        (">=", 5, [5, 6, 7]),
        ("<", 5, [3, 4]),
        ("<=", 5, [3, 4, 5]),
        ("between", (4, 6), [4, 5, 6]),
        (Operator.GREATER_THAN, 6, [7]),
    ],
)
async def test_the_operators(docket: Docket, operator: Operator | str, value: object, struck: list[int]) -> None:
    await docket.strike(bill, "amount", operator, value)
    found = [
        amount for amount in range(3, 8) if (await docket.add(bill)("ann", amount)).disposition is Disposition.STRUCK
    ]
    assert found == struck


async def test_what_cannot_be_compared_is_logged_once_and_not_struck(
    docket: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    await docket.strike(bill, "amount", ">", "text")
    for _ in range(3):
        assert (await docket.add(bill)("ann", 7)).disposition is Disposition.SCHEDULED
    assert caplog.text.count("cannot be compared") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((None, None), "names a function"),
        (("bill", "amount", "~", 5), "unknown operator"),
        (("bill", "amount", "between", 5), "pair"),
    ],
)
async def test_what_is_no_strike_is_refused(docket: Docket, arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        await docket.strike(*arguments)
    assert not docket.strike_list.in_effect


async def test_equal_rules_collapse(docket: Docket, other: Docket) -> None:
    for origin in (docket, other, docket):
        await origin.strike(bill, "amount", ">", 5)
    await docket.strike(bill)
    await until(lambda: len(other.strike_list.strikes) == 2)
    assert len(docket.strike_list.strikes) == 2
    await docket.restore(bill, "amount", ">", 5)
    await until(lambda: len(other.strike_list.strikes) == 1)


async def test_restoring_what_was_never_struck_changes_nothing(docket: Docket) -> None:
    await docket.restore(bill)
    assert not docket.strike_list.in_effect


async def test_a_condition_strikes_here_only(docket: Docket, other: Docket) -> None:
    def on_monday(execution: Execution) -> bool:
        customer: str = execution.get_argument("customer")
        return customer == "ann"

    docket.strike_list.add_condition(on_monday)
    assert (await docket.add(bill)("ann")).disposition is Disposition.STRUCK
    assert (await docket.add(bill)("bob")).disposition is Disposition.SCHEDULED
    assert (await other.add(bill)("ann")).disposition is Disposition.SCHEDULED
    docket.strike_list.remove_condition(on_monday)
    assert (await docket.add(bill)("ann")).disposition is Disposition.SCHEDULED
    with pytest.raises(ValueError, match="not in list"):
        docket.strike_list.remove_condition(on_monday)


async def test_a_condition_that_raises_strikes_nothing(docket: Docket, other: Docket) -> None:
    def broken(execution: Execution) -> bool:
        raise ZeroDivisionError

    docket.register(bill)
    docket.strike_list.add_condition(broken)
    await other.add(bill)("ann")
    assert (await docket.add(bill)("bob")).disposition is Disposition.SCHEDULED
    await work_off(docket)
    assert sorted(ran) == [("ann", 0.0), ("bob", 0.0)]


async def test_a_list_can_stand_alone(docket_url: str, docket: Docket) -> None:
    async with StrikeList(docket_url, docket.name) as strikes:
        await within(strikes.wait_for_strikes_loaded())
        await strikes.strike("bill", "customer", "==", "ann")
        await docket.strike(None, "region", "==", "north")
        await until(lambda: len(strikes.strikes) == len(docket.strike_list.strikes) == 2)
        assert strikes.is_stricken({"region": "north"})
        assert not strikes.is_stricken({"region": "south"})
        assert not strikes.is_stricken({"customer": "ann"})  # that strike is for one function only
        assert (await docket.add(bill)("ann")).disposition is Disposition.STRUCK


async def test_a_list_without_a_store_knows_what_it_is_told() -> None:
    async with StrikeList() as strikes:
        await within(strikes.wait_for_strikes_loaded(), 1)
        await strikes.strike(None, "region", "==", "north")
        assert strikes.is_stricken({"region": "north"})


async def test_a_strike_takes_effect_while_a_worker_runs(docket: Docket, other: Docket) -> None:
    other.register(bill)
    from tests.support.workers import working

    async with working(other):
        first = await docket.add(bill)("ann")
        await within(first.get_result())
        later = await docket.add(bill, when=timedelta(milliseconds=300))("bob")
        await docket.strike(bill)
        with pytest.raises(ExecutionCancelled):
            await within(later.get_result())
    assert ran == [("ann", 0.0)]
    await asyncio.sleep(0)
