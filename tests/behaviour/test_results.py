"""Waiting for the end of a run: every outcome, and every bound on the wait."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from docket_core import Docket, ExecutionCancelled, ExecutionFailed, ExecutionState, ExecutionSuperseded, ResultExpired
from docket_core.backend.clock import ManualClock
from docket_core.backend.protocol import Subscription
from docket_core.backend.records import Topic
from tests.support.workers import SECOND, Signal, within, work_off, working


class OrderError(Exception):
    def __init__(self, order: int, *, reason: str = "") -> None:
        super().__init__(order)
        self.order = order
        self.reason = reason


class Unpicklable(Exception):
    def __reduce__(self) -> str:
        raise TypeError("not me")


class OneWay(Exception):
    """Can be pickled, but not be made again."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


async def give(value: object) -> object:
    return value


async def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("value", [None, 0, "", "text", b"bytes", (1, [2]), {"a": {1, 2}}, 1.5, datetime(2030, 1, 1)])  # noqa: DTZ001
async def test_a_result_arrives_as_it_was_returned(docket: Docket, other: Docket, value: object) -> None:
    execution = await docket.add(give)(value)
    await work_off(docket)
    assert await execution.get_result() == value
    elsewhere = await other.get_execution(execution.key)
    assert elsewhere is not None
    assert await elsewhere.get_result() == value


async def test_a_task_that_returns_an_exception_has_succeeded(docket: Docket) -> None:
    execution = await docket.add(give)(OrderError(7))
    await work_off(docket)
    assert isinstance(await execution.get_result(), OrderError)
    assert execution.state is ExecutionState.COMPLETED


async def test_a_failed_task_raises_its_own_exception(docket: Docket) -> None:
    async def refuse() -> None:
        raise OrderError(7, reason="sold out")

    execution = await docket.add(refuse)()
    await work_off(docket)
    with pytest.raises(OrderError) as raised:
        await execution.get_result()
    assert (raised.value.order, raised.value.reason) == (7, "sold out")
    assert execution.state is ExecutionState.FAILED
    assert "sold out" in str(raised.value.reason)
    assert execution.error is not None
    assert "in refuse" in execution.error  # the traceback is kept as text


@pytest.mark.parametrize("error", [Unpicklable("text of it"), OneWay(1, 2)])
async def test_an_exception_that_cannot_be_raised_here_is_shown(docket: Docket, error: Exception) -> None:
    async def refuse() -> None:
        raise error

    execution = await docket.add(refuse)()
    await work_off(docket)
    with pytest.raises(ExecutionFailed) as raised:
        await execution.get_result()
    assert type(error).__name__ in str(raised.value)
    assert str(error) in str(raised.value)
    assert "Traceback" in str(raised.value)


async def test_a_cancelled_one_says_so(docket: Docket) -> None:
    execution = await docket.add(give, when=timedelta(hours=1))(1)
    await docket.cancel(execution.key)
    with pytest.raises(ExecutionCancelled):
        await execution.get_result()
    assert execution.state is ExecutionState.CANCELLED


async def test_a_replaced_one_says_so(docket: Docket) -> None:
    old = await docket.add(give, when=timedelta(hours=1), key="k")(1)
    waiting = asyncio.create_task(old.get_result())
    await asyncio.sleep(0)
    new = await docket.replace(give, None, "k")(2)
    with pytest.raises(ExecutionSuperseded):
        await within(waiting)
    await work_off(docket)
    assert await new.get_result() == 2
    with pytest.raises(ExecutionSuperseded):
        await old.get_result()


async def test_one_of_which_nothing_is_kept_says_so(docket_url: str) -> None:
    async with Docket("forgetful", docket_url, execution_ttl=timedelta(0)) as docket:
        execution = await docket.add(give)(1)
        await work_off(docket)
        with pytest.raises(ResultExpired):
            await execution.get_result()
        assert await docket.get_execution(execution.key) is None


async def test_who_waits_is_told_even_if_nothing_is_kept(docket_url: str) -> None:
    """It cannot learn the outcome, but it never hangs."""
    begun, go_on = Signal(), Signal()

    async def hold() -> None:
        begun.give()
        await go_on.seen()

    async with Docket("forgetful", docket_url, execution_ttl=timedelta(0)) as docket, working(docket):
        execution = await docket.add(hold)()
        await begun.seen()
        waiting = asyncio.create_task(execution.get_result())
        await asyncio.sleep(0)
        go_on.give()
        with pytest.raises(ResultExpired):
            await within(waiting, 5)


async def test_after_its_retention_a_result_is_gone(timed: Docket, clock: ManualClock) -> None:
    execution = await timed.add(give)(1)
    await work_off(timed)
    clock.advance(timed.execution_ttl - timedelta(microseconds=1))
    assert await execution.get_result() == 1
    clock.advance(timedelta(microseconds=1))
    with pytest.raises(ResultExpired):
        await execution.get_result()
    assert await timed.get_execution(execution.key) is None


async def test_a_wait_is_bounded_by_timeout_or_deadline_not_both(docket: Docket) -> None:
    execution = await docket.add(give, when=timedelta(hours=1))(1)
    with pytest.raises(TimeoutError):
        await within(execution.get_result(timeout=timedelta(milliseconds=20)))
    with pytest.raises(TimeoutError):
        await within(execution.get_result(deadline=datetime.now(UTC) + timedelta(milliseconds=20)))
    with pytest.raises(TimeoutError):
        await within(execution.get_result(deadline=datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(TimeoutError):
        await within(execution.get_result(timeout=timedelta(0)))
    with pytest.raises(ValueError, match="not both"):
        await execution.get_result(timeout=SECOND, deadline=datetime.now(UTC))
    with pytest.raises(ValueError, match="time zone"):
        await execution.get_result(deadline=datetime(2030, 1, 1))  # noqa: DTZ001


async def test_a_result_that_is_there_needs_no_time(docket: Docket) -> None:
    execution = await docket.add(give)(1)
    await work_off(docket)
    assert await execution.get_result(timeout=timedelta(0)) == 1


async def test_who_waits_elsewhere_is_woken_by_the_event(docket: Docket, other: Docket) -> None:
    execution = await docket.add(give)("news")
    elsewhere = await other.get_execution(execution.key)
    assert elsewhere is not None
    waiting = asyncio.create_task(elsewhere.get_result())
    await asyncio.sleep(0)
    async with working(docket):
        assert await within(waiting) == "news"


async def test_a_lost_event_costs_real_time_only_though_the_clock_stands_still(
    timed: Docket, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening = Signal()
    subscribe = timed.backend.subscribe

    @asynccontextmanager
    async def deaf(topics: AbstractSet[Topic], keys: Sequence[str] | None) -> AsyncGenerator[Subscription, None]:
        async with subscribe(topics, keys and ["another"]) as subscription:
            monkeypatch.setattr(subscription, "watch", within_earshot_of_nobody)
            listening.give()
            yield subscription

    async def within_earshot_of_nobody(_: Sequence[str]) -> None: ...

    monkeypatch.setattr(timed.backend, "subscribe", deaf)
    execution = await timed.add(give)("it")
    waiting = asyncio.create_task(execution.get_result())
    await listening.seen()
    await work_off(timed)
    assert await within(waiting) == "it"


async def test_many_who_wait_for_many_all_get_their_own(docket: Docket) -> None:
    executions = [await docket.add(give)(number) for number in range(100)]
    waiting = [asyncio.create_task(execution.get_result()) for execution in [*executions, *executions]]
    await asyncio.sleep(0)
    async with working(docket, concurrency=50):
        assert await within(asyncio.gather(*waiting)) == [*range(100), *range(100)]


async def test_one_who_gives_up_does_not_disturb_another_waiting_for_the_same(docket: Docket) -> None:
    execution = await docket.add(give)(1)
    patient = asyncio.create_task(execution.get_result())
    hasty = asyncio.create_task(execution.get_result())
    await asyncio.sleep(0.05)
    hasty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    async with working(docket):
        assert await within(patient) == 1


async def test_who_waits_on_a_docket_that_is_closed_does_not_hang(docket_url: str) -> None:
    async with Docket("closing", docket_url) as docket:
        execution = await docket.add(give, when=timedelta(hours=1))(1)
        waiting = asyncio.create_task(execution.get_result())
        await asyncio.sleep(0.05)
    with pytest.raises(RuntimeError, match="not open"):
        await within(waiting, 5)


async def test_sync_brings_a_handle_up_to_date(docket: Docket, other: Docket) -> None:
    execution = await docket.add(raise_, key="k")(OrderError(1))
    unknown = execution.started_at, execution.completed_at
    other.register(raise_)
    await work_off(other, name="w1")
    await execution.sync()
    assert execution.state is ExecutionState.FAILED
    assert execution.worker == "w1"
    assert execution.error is not None
    assert "OrderError" in execution.error
    assert unknown == (None, None)
    assert execution.started_at is not None
    assert execution.completed_at is not None
    assert execution.started_at <= execution.completed_at


async def test_a_handle_knows_when_it_is_superseded(docket: Docket) -> None:
    seen: list[bool] = []
    begun, go_on = Signal(), Signal()

    async def hold() -> None:
        begun.give()
        await go_on.seen()

    async with working(docket):
        old = await docket.add(hold, key="k")()
        await begun.seen()
        seen.append(await old.is_superseded())
        new = await docket.replace(give, timedelta(hours=1), "k")(1)
        seen += [await old.is_superseded(), await new.is_superseded()]
        go_on.give()
        with pytest.raises(ExecutionSuperseded):
            await within(old.get_result())
    assert seen == [False, True, False]
