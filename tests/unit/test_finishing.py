"""A call that goes on though its caller is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from docket_core.backend.finishing import Finishing

left: list["asyncio.Task[Any]"] = []
seen: list[object] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    left.clear()
    seen.clear()


async def call(work: Coroutine[Any, Any, Any]) -> Any:
    return await Finishing(work, left.append)


async def turns(number: int = 20) -> None:
    """Let everything that can go on go on."""
    for _ in range(number):
        await asyncio.sleep(0)


async def asked(future: "asyncio.Future[str]") -> str:
    seen.append(asyncio.current_task())
    try:
        await asyncio.sleep(0)
        answer = await future
        await asyncio.sleep(0)
    except BaseException as error:
        seen.append(error)
        raise
    seen.append(answer)
    return answer


@pytest.fixture
async def future() -> "asyncio.Future[str]":
    return asyncio.get_running_loop().create_future()


async def test_it_is_an_await(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(asked(future)))
    await turns()
    future.set_result("yes")
    assert await caller == "yes"
    assert seen == [caller, "yes"], "it ran in the caller's own task"
    assert not left


async def test_what_ends_at_once_takes_no_turn() -> None:
    async def at_once() -> int:
        return 1

    before = asyncio.current_task()
    others: list[int] = []
    asyncio.get_running_loop().call_soon(others.append, 1)
    assert await Finishing(at_once(), left.append) == 1
    assert not others
    assert asyncio.current_task() is before


async def test_what_is_raised_reaches_the_work_and_the_caller(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(asked(future)))
    await turns()
    error = ValueError("no")
    future.set_exception(error)
    with pytest.raises(ValueError, match="no"):
        await caller
    assert seen[1:] == [error]
    assert not left


async def test_the_work_goes_on_without_its_caller(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(asked(future)))
    await turns()
    caller.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await caller
    assert caller.cancelled()
    assert not future.done(), "the work waits on"
    future.set_result("yes")
    (rest,) = left
    assert await rest == "yes"
    assert seen[1:] == ["yes"]


async def test_what_the_rest_raises_is_the_tasks_outcome(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(asked(future)))
    await turns()
    caller.cancel()
    await turns()
    future.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await left[0]


async def test_the_rest_can_be_cancelled(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(asked(future)))
    await turns()
    caller.cancel()
    await turns()
    left[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await left[0]
    assert future.cancelled()
    assert isinstance(seen[1], asyncio.CancelledError)


def _answered(future: "asyncio.Future[str]", caller: "asyncio.Task[Any]") -> None:
    future.set_result("yes")
    caller.cancel()


def _cancelled(future: "asyncio.Future[str]", caller: "asyncio.Task[Any]") -> None:
    caller.cancel()
    future.set_result("yes")


@pytest.mark.parametrize("race", [_answered, _cancelled])
async def test_an_answer_at_the_moment_of_the_cancel_is_not_lost(
    race: Callable[["asyncio.Future[str]", "asyncio.Task[Any]"], None], future: "asyncio.Future[str]"
) -> None:
    caller = asyncio.create_task(call(asked(future)))
    await turns()
    race(future, caller)
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await left[0] == "yes"


async def test_a_cancel_that_comes_while_it_waits_for_its_turn(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(asked(future)))
    await asyncio.sleep(0)
    caller.cancel()
    await turns()
    assert caller.cancelled()
    future.set_result("yes")
    assert await left[0] == "yes"


async def test_a_cancel_before_the_first_wait_lets_the_work_begin(future: "asyncio.Future[str]") -> None:
    async def cancelled_already() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await Finishing(asked(future), left.append)

    caller = asyncio.create_task(cancelled_already())
    await turns()
    assert caller.cancelled()
    future.set_result("yes")
    assert await left[0] == "yes"


async def test_a_future_that_was_cancelled_by_somebody_else_cancels_the_work(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(asked(future)))
    await turns()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert isinstance(seen[1], asyncio.CancelledError)
    assert not left


async def test_a_work_that_swallows_such_a_cancel_goes_on(future: "asyncio.Future[str]") -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await future
        await asyncio.sleep(0)
        return "still"

    caller = asyncio.create_task(call(stubborn()))
    await turns()
    future.cancel()
    assert await caller == "still"


async def test_a_timeout_of_the_callers_ends_the_wait_only(future: "asyncio.Future[str]") -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await Finishing(asked(future), left.append)
    future.set_result("yes")
    assert await left[0] == "yes"


async def test_it_waits_for_tasks_and_locks_as_well(future: "asyncio.Future[str]") -> None:
    lock = asyncio.Lock()

    async def through(inner: Awaitable[str]) -> str:
        async with lock:
            return await asyncio.create_task(_plain(inner))

    callers = [asyncio.create_task(call(through(future))) for _ in range(2)]
    await turns()
    callers[1].cancel()
    await turns()
    future.set_result("yes")
    assert await callers[0] == "yes"
    assert await left[0] == "yes"
    assert not lock.locked()


async def _plain(inner: Awaitable[str]) -> str:
    return await inner


async def test_the_rest_sees_what_the_caller_had_in_its_context(future: "asyncio.Future[str]") -> None:
    variable: ContextVar[str] = ContextVar("variable")

    async def looks() -> str:
        await future
        return variable.get()

    async def caller() -> str:
        variable.set("mine")
        return await Finishing(looks(), left.append)

    task = asyncio.create_task(caller())
    await turns()
    task.cancel()
    await turns()
    future.set_result("yes")
    assert await left[0] == "mine"


def test_a_loop_that_ends_closes_the_work() -> None:
    async def forever() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append("closed")

    coroutine = call(forever())
    loop = asyncio.new_event_loop()
    try:
        loop.call_soon(coroutine.send, None)
        loop.call_soon(loop.stop)
        loop.run_forever()
        coroutine.close()
    finally:
        loop.close()
    assert seen == ["closed"]
    assert not left


async def test_one_around_another_is_what_goes_on(future: "asyncio.Future[str]") -> None:
    outer: list[asyncio.Task[Any]] = []

    async def around() -> Any:
        return await Finishing(call(asked(future)), outer.append)

    caller = asyncio.create_task(around())
    await turns()
    caller.cancel()
    await turns()
    assert caller.cancelled()
    [rest] = outer
    assert not rest.done()
    future.set_result("yes")
    assert await rest == "yes"
    assert seen == [caller, "yes"]
    assert not left, "the inner one has not been cancelled"


async def test_one_around_another_takes_the_outcome_before_the_cancel(future: "asyncio.Future[str]") -> None:
    caller = asyncio.create_task(call(call(asked(future))))
    await turns()
    future.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await caller
    assert not left


async def test_a_caller_who_is_cancelled_twice_at_once_is_woken_once(future: "asyncio.Future[str]") -> None:
    """The second cancellation would come out of whatever he awaits next."""
    woken: list[str] = []

    async def calling() -> None:
        try:
            await call(asked(future))
        except asyncio.CancelledError:
            woken.append("cancelled")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            woken.append("tidied up")
            raise

    caller = asyncio.create_task(calling())
    await turns()
    caller.cancel()
    caller.cancel()
    await turns()
    assert woken == ["cancelled", "tidied up"]
    future.set_result("yes")
    assert await left[0] == "yes"
