"""Postgres behind a pooler in transaction mode: each transaction may be served by another session, emptied before."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from docket_core import Disposition, Docket
from docket_core.backend import open_backend
from docket_core.backend.model import EnqueueStatus, Task
from docket_core.codec import JsonCodec
from docket_core.dependencies import ConcurrencyLimit, Retry
from docket_core.errors import ExecutionCancelled
from tests.support.pooler import Pooler
from tests.support.servers.postgres import PostgresServer, run_sql
from tests.support.workers import within, working

SESSIONS = 3
WAYS = {
    "polling": "?prepared=false&notify=false",
    "listening elsewhere": "?prepared=false&notify_url={straight}",
    "finding out": "?notify_url={straight}",
}
"""What docs/postgres.md tells to set, and what is found out where `prepared` is left as it is."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as started:
        yield started


@pytest.fixture
async def pooler(server: PostgresServer) -> AsyncIterator[Pooler]:
    async with Pooler(server, SESSIONS) as made:
        yield made


async def test_the_pooler_keeps_nothing_of_a_client(pooler: Pooler) -> None:
    """What the other tests rely on: a setting, a prepared statement and a LISTEN are lost with the transaction."""
    connection = await asyncpg.connect(pooler.url, statement_cache_size=0)
    try:
        await connection.execute("set lock_timeout = '17ms'")
        assert await connection.fetchval("show lock_timeout") == "0"
        await connection.execute("listen news")
        assert await connection.fetch("select pg_listening_channels()") == []
        statement = await connection.prepare("select 1", name="mine")
        assert await statement.fetchval() == 1
        with pytest.raises(asyncpg.InvalidSQLStatementNameError):
            await statement.fetchval()
        async with connection.transaction():
            first = await connection.fetchval("select pg_backend_pid()")
            assert await connection.fetchval("select pg_backend_pid()") == first
        assert await connection.fetchval("select pg_backend_pid()") != first
    finally:
        connection.terminate()
    assert pooler.named == 1
    assert len(pooler.lasting) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_all_of_a_docket_works_behind_it(server: PostgresServer, pooler: Pooler, way: str) -> None:
    """Adds, times, retries, limits, cancels, strikes, results: nothing relies on what a session keeps."""
    url = pooler.url + WAYS[way].format(straight=server.url())
    tries: list[int] = []
    running = most = 0
    two_at_once = asyncio.Event()

    async def note(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def flaky(retry: Retry = Retry(attempts=3)) -> int:
        tries.append(retry.attempt)
        if retry.attempt < 3:
            raise ValueError("not yet")
        return retry.attempt

    async def alone(number: int, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=2)) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            two_at_once.set()
        await within(two_at_once.wait())
        running -= 1
        return number

    async with Docket(f"pooled-{uuid4().hex}", url, codec=JsonCodec()) as docket:
        for function in (note, flaky, alone):
            docket.register(function)
        await docket.strike(note, "number", "==", 13)
        never = await docket.add(note, datetime.now(UTC) + timedelta(hours=1))(99)
        async with working(docket, concurrency=8, redelivery_timeout=timedelta(seconds=2)):
            due = await docket.add(note, datetime.now(UTC) + timedelta(seconds=0.5))(7)
            added = await asyncio.gather(*(docket.add(note)(number) for number in range(100)))
            limited = [await docket.add(alone)(number) for number in range(10)]
            retried = await docket.add(flaky)()
            await docket.cancel(never.key)
            with pytest.raises(ExecutionCancelled):
                await within(never.get_result())
            for number, execution in enumerate(added):
                if number == 13:
                    assert execution.disposition is Disposition.STRUCK
                else:
                    assert await within(execution.get_result()) == number
            assert [await within(one.get_result()) for one in limited] == list(range(10))
            assert await within(retried.get_result()) == 3
            assert await within(due.get_result()) == 7
            assert len(await docket.workers()) == 1
    assert tries == [1, 2, 3]
    assert most == 2
    assert len(pooler.served) == SESSIONS
    assert min(pooler.served.values()) > 10, "every session has had its share"
    assert pooler.moved > 10, "clients were led from one session to another"
    assert pooler.lasting == []
    if "prepared=false" in url:
        assert pooler.named == 0


async def test_many_that_find_their_statements_lost_are_all_sent_again(pooler: Pooler) -> None:
    """The first that finds out is not the only one: others are under way on sessions that have lost theirs too."""
    async with open_backend(f"{pooler.url}?notify=false", f"pooled-{uuid4().hex}") as backend:
        keys = [f"key-{number}" for number in range(20)]
        answers = await asyncio.gather(*(backend.enqueue([Task(key, "f", b"", f"run of {key}")]) for key in keys))
        assert {answer.status for [answer] in answers} == {EnqueueStatus.ACCEPTED}
        records = await asyncio.gather(*(backend.get([key]) for key in keys))
        assert all(record is not None for [record] in records)
    assert pooler.named > 1


async def test_a_listener_that_hears_nothing_costs_latency_only(pooler: Pooler) -> None:
    """With everything left as it is, LISTEN is lost at once: work is found by polling all the same."""

    async def note(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async with Docket(f"pooled-{uuid4().hex}", pooler.url, codec=JsonCodec()) as docket:
        docket.register(note)
        async with working(docket):
            for number in range(3):
                execution = await docket.add(note)(number)
                assert await within(execution.get_result()) == number
    assert pooler.lasting, "it has tried to listen"


async def test_sessions_are_whole_afterwards(server: PostgresServer, pooler: Pooler) -> None:
    """A client that leaves within a transaction takes its session with it, and no other client's."""
    connections = [await asyncpg.connect(pooler.url, statement_cache_size=0) for _ in range(2 * SESSIONS)]
    for connection in connections[:SESSIONS]:
        await connection.execute("begin")
        connection.terminate()
    for connection in connections[SESSIONS:]:
        assert await within(connection.fetchval("select 1")) == 1
        assert not connection.is_in_transaction()
        connection.terminate()
    assert await run_sql(server.url(), "select 1") == [[1]]
