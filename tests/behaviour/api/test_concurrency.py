"""At most so many at a time: per task, per value, per scope; first in, first out; whatever happens to the holders."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pytest

from docket_core import ConcurrencyLimit, Docket, Retry
from docket_core.backend.model import Ack, Acked, Claimed, Permit, PermitRequest, PermitStatus
from docket_core.backend.records import FunctionCounts
from docket_core.errors import ConfigurationError
from tests.support.counting import CountingClock
from tests.support.presence import Presence
from tests.support.workers import Signal, until, until_async, within, work_off, working

presence = Presence()
door = Signal()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global presence, door
    presence, door = Presence(), Signal()


async def one_at_a_time(name: str, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
    await presence.visit("all", name)


async def _parked(docket: Docket, how_many: int) -> bool:
    counts: list[FunctionCounts] = list(await docket.backend.counts())
    return sum(row.parked for row in counts) == how_many


async def two_at_a_time(name: str, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=2)) -> None:
    await presence.visit("all", name)


async def per_customer(
    customer: int, name: str, limit: ConcurrencyLimit = ConcurrencyLimit("customer", max_concurrent=1)
) -> None:
    await presence.visit(str(customer), name)
    await presence.visit("all", name)


async def annotated(customer: Annotated[int, ConcurrencyLimit()], name: str) -> None:
    await presence.visit(str(customer), name)


async def waiting_at_the_door(name: str, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
    presence.order.append(name)
    await door.seen()


@pytest.mark.requirement("R-054")
@pytest.mark.parametrize(("task", "most"), [(one_at_a_time, 1), (two_at_a_time, 2)])
async def test_never_more_than_the_limit(docket: Docket, other: Docket, task: Callable[..., Any], most: int) -> None:
    other.register(task)
    await docket.add_many(docket.call(task)(str(number)) for number in range(20))
    async with working(docket, name="a", concurrency=6), working(other, name="b", concurrency=6):
        await until(lambda: len(presence.order) == 20)
    assert presence.most["all"] <= most
    assert sorted(presence.order, key=int) == [str(number) for number in range(20)]


@pytest.mark.requirement("R-054")
async def test_as_many_as_the_limit_run_together(docket: Docket) -> None:
    async def meet(limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=2)) -> None:
        await within(both.wait())

    both = asyncio.Barrier(2)
    executions = [await docket.add(meet)() for _ in range(4)]
    await work_off(docket)
    for execution in executions:
        await execution.get_result()


@pytest.mark.requirement("R-057")
async def test_blocked_tasks_start_in_the_order_they_came(docket: Docket) -> None:
    names = [str(number) for number in range(12)]
    for name in names:
        await docket.add(one_at_a_time)(name)
    await work_off(docket, concurrency=4)
    assert presence.order == names


@pytest.mark.requirement("R-057")
async def test_a_newcomer_does_not_overtake_who_is_about_to_wait(
    docket: Docket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ends after the second was denied, and before it is parked; the third asks just then."""
    acked, third_came = Signal(), Signal()
    backend = docket.backend
    acquire, ack, claim_some = backend.acquire, backend.ack, backend.claim

    async def slow_acquire(requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        answers = await acquire(requests)
        if any(answer.status is PermitStatus.DENIED for answer in answers) and not acked.given:
            door.give()
            await acked.seen()
            await third_came.seen()
        return answers

    async def seen_ack(acks: Sequence[Ack]) -> Sequence[Acked]:
        answers = await ack(acks)
        acked.give()
        return answers

    async def seen_claim(*arguments: Any) -> Claimed:
        claimed = await claim_some(*arguments)
        if any(claim.key == "third" for claim in claimed.claims):
            asyncio.get_running_loop().call_later(0.01, third_came.give)
        return claimed

    monkeypatch.setattr(backend, "acquire", slow_acquire)
    monkeypatch.setattr(backend, "ack", seen_ack)
    monkeypatch.setattr(backend, "claim", seen_claim)
    for name in ("first", "second", "third"):
        await docket.add(waiting_at_the_door, key=name)(name)
    await work_off(docket, concurrency=2)
    assert presence.order == ["first", "second", "third"]


@pytest.mark.requirement("R-057")
async def test_a_newcomer_does_not_overtake_who_waits(docket: Docket) -> None:
    async with working(docket, concurrency=4):
        for name in ("first", "second", "third"):
            await docket.add(waiting_at_the_door)(name)
        await until_async(lambda: _parked(docket, 2))
        door.give()
        await docket.add(waiting_at_the_door)("newcomer")
        await until(lambda: len(presence.order) == 4)
    assert presence.order == ["first", "second", "third", "newcomer"]


@pytest.mark.requirement("R-055")
async def test_per_value_of_a_named_argument(docket: Docket) -> None:
    for number in range(12):
        await docket.add(per_customer)(number % 3, str(number))
    await work_off(docket, concurrency=12)
    assert [presence.most[customer] for customer in "012"] == [1, 1, 1]
    assert presence.most["all"] > 1


@pytest.mark.requirement("R-055", "R-040")
async def test_per_value_of_an_annotated_argument(docket: Docket) -> None:
    for number in range(9):
        await docket.add(annotated)(customer=number % 3, name=str(number))
    await work_off(docket, concurrency=9)
    assert [presence.most[customer] for customer in "012"] == [1, 1, 1]
    assert len(presence.order) == 9


@pytest.mark.requirement("R-055")
async def test_a_text_and_a_number_are_different_values(docket: Docket) -> None:
    both = asyncio.Barrier(2)

    async def meet(customer: object, limit: ConcurrencyLimit = ConcurrencyLimit("customer")) -> None:
        await within(both.wait())

    executions = [await docket.add(meet)(1), await docket.add(meet)("1")]
    await work_off(docket)
    for execution in executions:
        await execution.get_result()


@pytest.mark.requirement("R-055")
async def test_a_default_counts_as_a_value(docket: Docket) -> None:
    async def defaulted(customer: int = 1, limit: ConcurrencyLimit = ConcurrencyLimit("customer")) -> None:
        await presence.visit(str(customer), str(customer))

    docket.register(defaulted)
    for arguments in ((), (1,), ()):
        await docket.add("defaulted")(*arguments)
    await work_off(docket, concurrency=3)
    assert presence.most["1"] == 1
    assert len(presence.order) == 3


@pytest.mark.requirement("R-055")
async def test_a_value_that_does_not_show_itself_fails_its_task(docket: Docket) -> None:
    async def by_thing(thing: object, limit: ConcurrencyLimit = ConcurrencyLimit("thing")) -> None:
        presence.order.append("ran")

    execution = await docket.add(by_thing)(Opaque())
    await work_off(docket)
    with pytest.raises(ConfigurationError, match="give Opaque a __repr__"):
        await execution.get_result()
    assert presence.order == []


class Opaque:
    pass


@pytest.mark.requirement("R-055", "R-056")
async def test_functions_share_a_limit_by_scope_and_only_so(docket: Docket) -> None:
    async def load(name: str, limit: ConcurrencyLimit = ConcurrencyLimit(scope="disk")) -> None:
        await presence.visit("disk", name)

    async def store(name: str, limit: ConcurrencyLimit = ConcurrencyLimit(scope="disk")) -> None:
        await presence.visit("disk", name)

    async def alone(name: str, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await within(both.wait())

    async def apart(name: str, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        await within(both.wait())

    both = asyncio.Barrier(2)
    for task in (load, store, load, store, alone, apart):
        await docket.add(task)("x")
    await work_off(docket, concurrency=6)
    assert presence.most["disk"] == 1
    assert len(presence.order) == 4
    assert not both.broken


@pytest.mark.requirement("R-058")
async def test_a_freed_permit_wakes_at_once_and_nothing_is_asked_meanwhile(
    counted: Docket, counting: CountingClock
) -> None:
    async with working(counted, concurrency=4, schedule_automatic_tasks=False):
        await counted.add(waiting_at_the_door)("holder")
        await counted.add(waiting_at_the_door)("waiter")
        await until_async(lambda: _parked(counted, 1))
        await asyncio.sleep(0.1)  # whatever claims were still under way are over
        before = counting.calls["claim"]
        await asyncio.sleep(0.4)
        assert counting.calls["claim"] - before <= 1
        door.give()
        await until(lambda: len(presence.order) == 2, seconds=1.5)


@pytest.mark.requirement("R-054")
async def test_a_retry_gives_its_place_up_and_queues_again(docket: Docket) -> None:
    async def flaky(name: str, limit: ConcurrencyLimit = ConcurrencyLimit(), retry: Retry = Retry(attempts=2)) -> None:
        await presence.visit("all", f"{name}{retry.attempt}")
        if retry.attempt == 1:
            raise ValueError(name)

    executions = [await docket.add(flaky)("a"), await docket.add(flaky)("b")]
    await work_off(docket)
    for execution in executions:
        await execution.get_result()
    assert presence.most["all"] == 1
    assert sorted(presence.order) == ["a1", "a2", "b1", "b2"]


@pytest.mark.requirement("R-054")
async def test_a_cancelled_waiter_leaves_the_queue(docket: Docket) -> None:
    async with working(docket, concurrency=4):
        await docket.add(waiting_at_the_door, key="holder")("holder")
        await docket.add(waiting_at_the_door, key="waiter")("waiter")
        await docket.add(waiting_at_the_door, key="last")("last")
        await until_async(lambda: _parked(docket, 2))
        await docket.cancel("waiter")
        door.give()
        await until(lambda: len(presence.order) == 2)
    assert presence.order == ["holder", "last"]


@pytest.mark.requirement("R-067")
async def test_a_limit_on_no_parameter_is_refused_at_registration(docket: Docket) -> None:
    async def mistaken(customer: int, limit: ConcurrencyLimit = ConcurrencyLimit("custmer")) -> None: ...

    with pytest.raises(ConfigurationError, match=r"per value of 'custmer', but mistaken\(customer: int"):
        docket.register(mistaken)


@pytest.mark.requirement("R-055")
@pytest.mark.parametrize("most", [0, -1])
def test_a_limit_below_one_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match="at least one task runs at a time"):
        ConcurrencyLimit(max_concurrent=most)
