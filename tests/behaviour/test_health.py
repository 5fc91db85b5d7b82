"""Cases 29 and 30: an idle worker is quiet, and one that cannot claim is neither ready nor alive."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from docket_core import Docket, Worker
from docket_core.worker import worker as worker_module
from docket_core.worker.health import health_server
from tests.support.away import AwayDocket, Switches
from tests.support.workers import Signal, until, until_async, within, working


async def give(value: object) -> object:
    return value


async def test_case_29_an_idle_worker_sends_next_to_nothing(docket_url: str) -> None:
    switches = Switches()
    async with AwayDocket("quiet", docket_url, switches=switches) as docket, working(docket) as worker:
        await within(worker.has_claimed())
        await asyncio.sleep(0.2)
        switches.calls.clear()
        await asyncio.sleep(3)
        calls = Counter(switches.calls)
    assert set(calls) <= {"claim", "wait", "heartbeat", "prune", "enqueue", "schedule"}
    assert sum(calls.values()) <= 12, calls  # in three seconds


async def test_case_30_a_worker_that_does_not_run_is_not_ready(docket: Docket) -> None:
    worker = Worker(docket)
    assert not worker.is_ready()
    async with working(docket) as running:
        await within(running.has_claimed())
        assert running.is_ready()
    assert not running.is_ready()


async def test_case_30_a_worker_that_has_never_claimed_is_neither_ready_nor_alive(docket_url: str) -> None:
    switches = Switches()
    switches.refusing = {"claim"}
    async with AwayDocket("orders", docket_url, switches=switches) as docket, working(docket) as worker:
        await until(lambda: switches.calls.count("claim") > 3)
        assert not worker.is_ready()
        assert await docket.workers() == []
        switches.back()
        await until(worker.is_ready)
        await until_async(lambda: alive(docket))


async def alive(docket: Docket) -> bool:
    return bool(await docket.workers())


@pytest.mark.parametrize("how", ["refusing", "silent"])
async def test_case_30_one_that_cannot_claim_any_more_says_so(
    docket_url: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "READY_FOR", 0.3)
    switches = Switches()
    async with AwayDocket(
        "orders",
        docket_url,
        switches=switches,
        heartbeat_interval=timedelta(milliseconds=50),
        missed_heartbeats=2,
    ) as docket:
        docket.register(give)
        async with working(docket, reconnection_delay=timedelta(milliseconds=50)) as worker:
            await until_async(lambda: alive(docket))
            setattr(switches, how, {"claim"})
            await docket.add(give)(1)
            await until(lambda: not worker.is_ready())
            await until_async(lambda: dead(docket))
            switches.back()
            await until(worker.is_ready)
            await until_async(lambda: alive(docket))


async def dead(docket: Docket) -> bool:
    return not await docket.workers()


async def test_case_30_one_with_no_free_slot_is_ready_and_alive(
    docket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "READY_FOR", 0.1)
    begun, go_on = Signal(), Signal()

    async def hold() -> None:
        begun.give()
        await go_on.seen()

    heartbeat = timedelta(milliseconds=50)
    async with (
        Docket("orders", docket_url, heartbeat_interval=heartbeat, missed_heartbeats=4) as docket,
        working(docket, concurrency=1, reconnection_delay=timedelta(milliseconds=50)) as worker,
    ):
        await docket.add(hold)()
        await begun.seen()
        await asyncio.sleep(0.5)
        assert worker.is_ready()
        assert [info.name for info in await docket.workers()] == [worker.name]
        go_on.give()


async def ask(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await within(reader.read())).decode()
    writer.close()
    await writer.wait_closed()
    return answer.split(" ")[1]


async def test_case_30_over_http_live_is_not_ready(docket_url: str) -> None:
    switches = Switches()
    switches.refusing = {"claim"}
    async with (
        AwayDocket("orders", docket_url, switches=switches) as docket,
        working(docket) as worker,
        health_server(0, worker.is_ready, "127.0.0.1") as port,
    ):
        assert [await ask(port, path) for path in ("/live", "/ready", "/other")] == ["200", "503", "404"]
        switches.back()
        await until(worker.is_ready)
        assert await ask(port, "/ready") == "200"


async def test_workers_are_told_with_what_they_know(docket: Docket, other: Docket) -> None:
    docket.register(give)
    async with working(docket, name="one"), working(other, name="two"):
        await until_async(lambda: two_are_there(docket))
        assert {info.name for info in await docket.task_workers("give")} == {"one"}
        assert {info.name for info in await docket.task_workers("trace")} == {"one", "two"}
    assert await docket.workers() == []


async def two_are_there(docket: Docket) -> bool:
    return {info.name for info in await docket.workers()} == {"one", "two"}
