"""Task functions that are not async: each runs in a thread, which nothing can stop from outside."""

import threading
from contextvars import ContextVar
from datetime import timedelta

import pytest

from docket_core import Depends, Docket, ExecutionCancelled, Timeout
from docket_core.backend.clock import ManualClock
from docket_core.dependencies.base import current_docket, current_execution, current_worker
from tests.support.workers import PATIENCE, until, within, work_off, working

request: ContextVar[str] = ContextVar("request", default="nobody's")


def from_outside() -> str:
    request.set("set by a dependency")
    return request.get()


async def test_the_context_of_the_run_is_that_of_the_thread(docket: Docket) -> None:
    def look(_: str = Depends(from_outside)) -> tuple[str, str, str, str]:
        found = (current_docket.get().name, current_worker.get().name, current_execution.get().key, request.get())
        request.set("set by the body")
        return found

    executions = [await docket.add(look, key=key)() for key in "ab"]
    await work_off(docket, name="w", concurrency=1)
    for execution in executions:
        name, worker, key, seen = await execution.get_result()
        assert (name, worker, key, seen) == (docket.name, "w", execution.key, "set by a dependency")
    assert request.get() == "nobody's"


class Held:
    """A body that goes on until it is let go, whatever becomes of its run."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.ended = threading.Event()

    def body(self) -> str:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        self.ended.set()
        return "to the end"


async def test_a_cancelled_one_ends_at_once_and_its_thread_goes_on_unheard(docket: Docket) -> None:
    held = Held()
    docket.register(held.body, names=["held"])
    execution = await docket.add("held")()
    async with working(docket, concurrency=2):
        await until(held.begun.is_set)
        await docket.cancel(execution.key)
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result())
        assert not held.ended.is_set()
        held.go_on.set()
        await until(held.ended.is_set)
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result())


async def test_a_timeout_ends_the_run_and_not_the_thread(timed: Docket, clock: ManualClock) -> None:
    held = Held()

    def slow(timeout: Timeout = Timeout(timedelta(seconds=20))) -> tuple[bool, str]:
        return timeout.expired(), held.body()

    execution = await timed.add(slow)()
    async with working(timed):
        await until(held.begun.is_set)
        clock.advance(timedelta(seconds=20))
        with pytest.raises(TimeoutError, match="0:00:20"):
            await within(execution.get_result())
        assert not held.ended.is_set()
        held.go_on.set()
        await until(held.ended.is_set)


async def test_a_body_can_ask_whether_its_time_is_over(timed: Docket, clock: ManualClock) -> None:
    seen: list[bool] = []
    begun, go_on = threading.Event(), threading.Event()

    def polite(timeout: Timeout = Timeout(timedelta(seconds=20))) -> None:
        seen.append(timeout.expired())
        begun.set()
        go_on.wait(PATIENCE)
        seen.append(timeout.expired())

    execution = await timed.add(polite)()
    async with working(timed):
        await until(begun.is_set)
        clock.advance(timedelta(seconds=20))
        with pytest.raises(TimeoutError):
            await within(execution.get_result())
        go_on.set()
        await until(lambda: len(seen) == 2)
    assert seen == [False, True]


async def test_a_thread_that_goes_on_keeps_its_place_in_the_pool(docket: Docket) -> None:
    """With one slot, the next one that needs a thread waits for it; one that needs none does not."""
    held = Held()
    docket.register(held.body, names=["held"])

    async def asynchronous() -> str:
        return "at once"

    def in_a_thread() -> bool:
        return held.ended.is_set()

    cancelled = await docket.add("held")()
    async with working(docket, concurrency=1):
        await until(held.begun.is_set)
        await docket.cancel(cancelled.key)
        with pytest.raises(ExecutionCancelled):
            await within(cancelled.get_result())
        execution = await docket.add(asynchronous)()
        assert await within(execution.get_result()) == "at once"
        waiting = await docket.add(in_a_thread)()
        await docket.snapshot()
        held.go_on.set()
        assert await within(waiting.get_result()) is True
