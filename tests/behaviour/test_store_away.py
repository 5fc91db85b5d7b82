"""The store goes away and comes back under waiters, workers and strikes; events are lost, and nobody hangs."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from docket_core import Docket
from tests.support.away import EVERYTHING, AwayDocket, Switches
from tests.support.workers import until, within, working


async def give(value: object) -> object:
    return value


@pytest.fixture
async def away(docket_url: str) -> AsyncGenerator[AwayDocket, None]:
    async with AwayDocket("away", docket_url, switches=Switches()) as docket:
        yield docket
        docket.switches.back()


@pytest.fixture
async def steady(docket_url: str, away: AwayDocket) -> AsyncGenerator[Docket, None]:
    """The same docket over a connection that stays."""
    async with Docket(away.name, docket_url) as docket:
        docket.register(give)
        yield docket


async def test_who_waits_is_told_by_asking_where_there_are_no_events(away: AwayDocket, steady: Docket) -> None:
    away.switches.refusing = {"subscribe"}
    execution = await away.add(give)(1)
    waiting = asyncio.create_task(execution.get_result())
    await until(lambda: away.switches.calls.count("subscribe") > 1)
    async with working(steady):
        assert await within(waiting, 4) == 1


async def test_who_waits_is_told_by_events_again_once_they_are_back(away: AwayDocket, steady: Docket) -> None:
    away.switches.refusing = {"subscribe", "get"}
    execution = await steady.add(give)(1)
    found = await steady.get_execution(execution.key)
    assert found is not None
    away.switches.refusing = {"subscribe"}
    elsewhere = await away.get_execution(execution.key)
    assert elsewhere is not None
    waiting = asyncio.create_task(elsewhere.get_result())
    await until(lambda: away.switches.calls.count("subscribe") > 1)
    away.switches.back()
    async with working(steady):
        assert await within(waiting, 4) == 1


async def test_a_store_that_is_silent_does_not_outlast_a_timeout(away: AwayDocket) -> None:
    execution = await away.add(give, when=timedelta(hours=1))(1)
    away.switches.silent = {"get", "subscribe"}
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await within(execution.get_result(timeout=timedelta(milliseconds=100)))
    assert asyncio.get_running_loop().time() - began < 2


async def test_a_store_that_refuses_for_a_while_does_not_end_a_wait(away: AwayDocket, steady: Docket) -> None:
    execution = await away.add(give)(1)
    waiting = asyncio.create_task(execution.get_result())
    await until(lambda: "subscribe" in away.switches.calls)
    away.switches.refusing = {"get"}
    async with working(steady):
        done = await steady.get_execution(execution.key)
        assert done is not None
        assert await within(done.get_result()) == 1
        await asyncio.sleep(0.1)
        assert not waiting.done()
        away.switches.back()
        assert await within(waiting, 4) == 1


async def test_a_worker_goes_on_when_the_store_is_back(away: AwayDocket, steady: Docket) -> None:
    away.register(give)
    async with working(away, reconnection_delay=timedelta(milliseconds=100)) as worker:
        await within(worker.has_claimed())
        away.switches.refusing = set(EVERYTHING)
        execution = await steady.add(give)(1)
        await until(lambda: away.switches.calls.count("claim") > 4)
        away.switches.back()
        assert await within(execution.get_result(), 4) == 1


async def test_strikes_are_followed_again_when_the_store_is_back(docket_url: str) -> None:
    switches = Switches()
    switches.refusing = {"strikes"}
    async with AwayDocket("away", docket_url, switches=switches) as docket, Docket("away", docket_url) as steady:
        await steady.strike(give)
        await until(lambda: switches.calls.count("strikes") > 1)
        assert not docket.strike_list.in_effect
        switches.back()
        await within(docket.wait_for_strikes_loaded(), 4)
        assert docket.strike_list.in_effect
