"""Bounds on how long a task may run, and dependencies that a worker puts around every task."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from docket_core import (
    Depends,
    Docket,
    Retry,
    Timeout,
)
from docket_core.backend.clock import ManualClock
from tests.support.workers import Signal, until, within, work_off, working

seen: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    seen.clear()


@contextmanager
def entered() -> Generator[str, None, None]:
    seen.append("enter 1")
    yield "entered"
    seen.append("leave 1")


async def test_a_timeout_ends_a_body_that_runs_too_long(timed: Docket, clock: ManualClock) -> None:
    begun = Signal()

    async def slow(timeout: Timeout = Timeout(timedelta(seconds=20))) -> None:
        begun.give()
        await asyncio.sleep(3600)

    execution = await timed.add(slow)()
    async with working(timed):
        await begun.seen()
        clock.advance(timedelta(seconds=19, milliseconds=999))
        await timed.snapshot()
        await execution.sync()
        assert execution.state.value == "running"
        clock.advance(timedelta(milliseconds=1))
        with pytest.raises(TimeoutError, match="0:00:20"):
            await within(execution.get_result())


async def test_a_timeout_can_be_extended_and_asked(timed: Docket, clock: ManualClock) -> None:
    go_on = Signal()

    async def slow(timeout: Timeout = Timeout(timedelta(seconds=20))) -> str:
        seen.append(timeout.remaining())
        timeout.extend()
        timeout.extend(timedelta(seconds=5))
        seen.append((timeout.remaining(), timeout.expired()))
        await go_on.seen()
        seen.append(timeout.remaining())
        return "in time"

    execution = await timed.add(slow)()
    async with working(timed):
        await until(lambda: len(seen) == 2)
        clock.advance(timedelta(seconds=25))
        go_on.give()
        assert await within(execution.get_result()) == "in time"
    seconds = timedelta(seconds=1)
    assert seen == [20 * seconds, (45 * seconds, False), 20 * seconds]


async def test_a_task_that_ran_into_its_timeout_is_tried_again(docket: Docket) -> None:
    async def slow(timeout: Timeout = Timeout(timedelta(milliseconds=30)), retry: Retry = Retry(attempts=2)) -> str:
        if retry.attempt == 1:
            await asyncio.sleep(3600)
        return "second time"

    execution = await docket.add(slow)()
    await work_off(docket)
    assert await execution.get_result() == "second time"


async def test_worker_wide_dependencies_run_around_every_task(docket: Docket) -> None:
    async def task(name: str) -> None:
        seen.append(name)

    docket.register(task)
    await docket.add_many([docket.call(task)(name) for name in "ab"])
    await work_off(docket, dependencies={"around": Depends(entered)}, concurrency=1)
    assert seen == ["enter 1", "a", "leave 1", "enter 1", "b", "leave 1"]


async def test_a_worker_wide_dependency_that_fails_fails_the_task_by_name(docket: Docket) -> None:
    def broken() -> None:
        raise OSError("no database")

    execution = await docket.add("sleep")(0)
    await work_off(docket, dependencies={"database": Depends(broken)})
    with pytest.raises(ExceptionGroup, match="database"):
        await execution.get_result()


async def test_a_worker_wide_timeout_bounds_every_task(docket: Docket) -> None:
    execution = await docket.add("sleep")(3600)
    await work_off(docket, dependencies=[Timeout(timedelta(milliseconds=50))])
    with pytest.raises(TimeoutError):
        await execution.get_result()
