"""Automatic tasks: once per fleet, again after what severed them, never against a strike."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest

from docket_core import Cron, CurrentWorker, Docket, Perpetual, Worker
from docket_core.backend.clock import SECOND
from docket_core.testing import AutoClock, assert_no_tasks, assert_task_count
from docket_core.worker import default_fallback_task
from docket_core.worker.services import RESEED_INTERVAL
from tests.support.moments import MINUTE, Log, passed
from tests.support.workers import within, working

DAY = 24
RESEED = RESEED_INTERVAL / SECOND


@pytest.fixture
async def fleet(docket_url: str, auto: AutoClock) -> AsyncGenerator[list[Docket], None]:
    """Three users of one docket."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Docket("fleet", docket_url, clock=auto)) for _ in range(3)]


@pytest.mark.requirement("R-032")
async def test_a_fleet_runs_each_time_once(fleet: list[Docket], auto: AutoClock) -> None:
    log = Log(fleet[0])
    workers: set[str] = set()

    async def hourly(cron: Cron = Cron("@hourly"), worker: Worker = CurrentWorker()) -> None:
        log.note(str(len(log.notes) + 1))
        workers.add(worker.name)

    async with AsyncExitStack() as stack:
        for number, docket in enumerate(fleet):
            docket.register(hourly)
            await stack.enter_async_context(working(docket, name=f"worker {number}"))
        await within(passed(auto, DAY * 3600))
    assert log.notes == [(3600 * number, str(number)) for number in range(1, DAY + 1)]


@pytest.mark.requirement("R-032")
async def test_it_is_seeded_once_with_the_functions_name_as_key(fleet: list[Docket]) -> None:
    runs = 0

    async def poll(perpetual: Perpetual = Perpetual(every=timedelta(hours=1), automatic=True)) -> None:
        nonlocal runs
        runs += 1

    for docket in fleet:
        docket.register(poll)
    await asyncio.gather(
        *(within(Worker(docket, name=str(n)).run_at_most({"poll": 1})) for n, docket in enumerate(fleet))
    )
    assert 1 <= runs <= len(fleet), "who comes after the end of the chain begins a new one"
    execution = await fleet[0].get_execution("poll")
    assert execution is not None
    assert execution.function_name == "poll"


@pytest.mark.requirement("R-032")
async def test_a_worker_seeds_once_at_its_start(docket: Docket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second time would begin a chain anew that has ended meanwhile."""
    seeded: list[object] = []
    add = docket.add

    def seen(function: Any, when: datetime | None = None, key: str | None = None) -> Any:
        seeded.append(key)
        return add(function, when, key)

    async def poll(perpetual: Perpetual = Perpetual(every=timedelta(hours=1), automatic=True)) -> None: ...

    docket.register(poll)
    monkeypatch.setattr(docket, "add", seen)
    await within(Worker(docket).run_at_most({"poll": 1}))
    assert seeded == ["poll"]


@pytest.mark.requirement("R-032")
async def test_workers_can_be_told_not_to_seed(moving: Docket, auto: AutoClock) -> None:
    async def poll(perpetual: Perpetual = Perpetual(automatic=True)) -> None: ...

    moving.register(poll)
    async with working(moving, schedule_automatic_tasks=False):
        await passed(auto, 2 * RESEED)
        await assert_no_tasks(moving)


@pytest.mark.requirement("R-033")
async def test_a_chain_that_was_severed_comes_back(moving: Docket, auto: AutoClock) -> None:
    async def hourly(cron: Cron = Cron("@hourly")) -> None: ...

    moving.register(hourly)
    async with working(moving):
        await passed(auto, 0)
        await assert_task_count(moving, hourly, count=1)
        await moving.cancel("hourly")
        await assert_no_tasks(moving)
        await passed(auto, RESEED)
        await assert_task_count(moving, hourly, count=1)


@pytest.mark.requirement("R-033", "R-030")
async def test_a_chain_that_a_fallback_swallowed_comes_back(
    fleet: list[Docket], auto: AutoClock, caplog: pytest.LogCaptureFixture
) -> None:
    knowing, unknowing, _ = fleet
    log = Log(knowing)

    async def often(perpetual: Perpetual = Perpetual(every=MINUTE, automatic=True)) -> None:
        log.note("ran")

    await knowing.add(often, key="often")()
    async with Worker(unknowing, fallback_task=default_fallback_task) as worker:
        await within(worker.run_until_finished())
    assert "nobody here knows the function often" in caplog.text
    await assert_no_tasks(knowing)
    async with working(knowing):
        await passed(auto, RESEED)
    assert log.texts == ["ran"]


@pytest.mark.requirement("R-034")
async def test_a_strike_stops_it_and_a_restore_lets_it_come_back(moving: Docket, auto: AutoClock) -> None:
    log = Log(moving)

    async def often(perpetual: Perpetual = Perpetual(every=MINUTE, automatic=True)) -> None:
        log.note("ran")

    moving.register(often)
    async with working(moving):
        await passed(auto, 90)
        await moving.strike(often)
        await passed(auto, 3600)
        await assert_no_tasks(moving)
        assert log.notes == [(0, "ran"), (60, "ran")]
        await moving.restore(often)
        await passed(auto, RESEED)
        assert len(log.notes) == 3
        restored = log.notes[2][0]
        assert 3690 <= restored <= 3701
        await passed(auto, 60)
        assert log.notes[3] == (restored + 60, "ran")


@pytest.mark.requirement("R-034")
async def test_one_that_is_struck_is_not_even_seeded(moving: Docket, auto: AutoClock) -> None:
    ran: list[int] = []

    async def often(perpetual: Perpetual = Perpetual(every=MINUTE, automatic=True)) -> None:
        ran.append(1)

    moving.register(often)
    await moving.strike("often")
    async with working(moving):
        await passed(auto, 2 * RESEED)
        await assert_no_tasks(moving)
    assert ran == []


@pytest.mark.requirement("R-045", "R-033")
async def test_one_that_ended_its_own_chain_begins_a_new_one(moving: Docket, auto: AutoClock) -> None:
    log = Log(moving)

    async def once(perpetual: Perpetual = Perpetual(every=MINUTE, automatic=True)) -> None:
        log.note("ran")
        perpetual.cancel()

    moving.register(once)
    async with working(moving):
        await passed(auto, RESEED)
    assert len(log.notes) == 2
