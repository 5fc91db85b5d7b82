"""A server that restarts, refuses, is full or drops its sessions: known errors, and recovery without help."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar
from uuid import uuid4

import asyncpg
import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.errors import BackendError, BackendUnavailable, Overloaded
from tests.support.servers.postgres import PostgresServer, closing_connections, run_sql

Answer = TypeVar("Answer")


def task(key: str) -> Task:
    return Task(key, "f", b"", f"run of {key}")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own: its tests restart, pause and starve it."""
    with PostgresServer() as started:
        yield started


@pytest.fixture
async def backend(server: PostgresServer) -> AsyncIterator[Backend]:
    async with open_backend(f"{server.url()}?timeout=2", f"outage-{uuid4().hex}") as opened:
        yield opened


async def until_it_works(operation: Callable[[], Awaitable[Answer]], seconds: float = 5.0) -> Answer:
    """Repeat as a worker would; nothing but the known errors may come."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await operation()
        except BackendUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def until_unavailable(operation: Callable[[], Awaitable[object]], why: str, seconds: float = 5.0) -> None:
    """Repeat until the reason is this one: sessions end, and settings are loaded, a moment after they were told to."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            await operation()
        except BackendUnavailable as error:
            if why in str(error):
                return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_sessions_ended_in_the_middle_of_operations(backend: Backend, server: PostgresServer) -> None:
    """Each add is either refused with a known error or there; a repeated one is answered as the first time."""
    disrupt = closing_connections(server.url())
    added, failures, over = 0, 0, asyncio.Event()

    async def add_all(worker: int) -> None:
        nonlocal added, failures
        number = 0
        while not over.is_set():
            try:
                [answer] = await backend.enqueue([task(f"{worker}-{number}")])
            except BackendUnavailable:
                failures += 1
                await asyncio.sleep(0.01)
            else:
                assert answer.status == "accepted"
                number, added = number + 1, added + 1

    adding = [asyncio.ensure_future(add_all(worker)) for worker in range(3)]
    for _ in range(6):
        await asyncio.sleep(0.15)
        await disrupt()
    over.set()
    await asyncio.gather(*adding)
    assert failures
    [counted] = await until_it_works(backend.counts)
    assert counted.queued >= added > 0


async def test_a_restart_loses_nothing_and_needs_no_help(backend: Backend, server: PostgresServer) -> None:
    await backend.enqueue([task("key")])
    [claim] = (await backend.claim("worker", None, 1, 30 * SECOND)).claims
    server.restart()
    assert await until_it_works(lambda: backend.ack([Ack.complete(claim)])) == [Acked.ACKED]


async def test_a_crash_loses_nothing_that_was_acknowledged(backend: Backend, server: PostgresServer) -> None:
    keys = [f"key-{number}" for number in range(20)]
    for key in keys:
        await backend.enqueue([task(key)])
    server.kill()
    with pytest.raises(BackendUnavailable):
        await backend.counts()
    server.start()
    records = await until_it_works(lambda: backend.get(keys))
    assert None not in records


@pytest.mark.parametrize("options", ["timeout=2", "timeout=2&prepared=false"])
async def test_a_silent_server_is_given_up_after_the_timeout(server: PostgresServer, options: str) -> None:
    async with open_backend(f"{server.url()}?{options}", f"silent-{uuid4().hex}") as backend:
        await backend.enqueue([task("key")])
        pids = await run_sql(server.url(), "select pid from pg_stat_activity where application_name = 'docket'")
        server.pause(*(int(str(pid)) for [pid] in pids))
        try:
            before = time.monotonic()
            with pytest.raises(BackendUnavailable, match="no answer within 2 s"):
                await backend.get(["key"])
            assert 2 <= time.monotonic() - before < 4
        finally:
            server.resume()
        await until_it_works(backend.counts)


async def test_a_full_house_is_unavailable_for_now(server: PostgresServer) -> None:
    """The server's connection limit."""
    async with open_backend(server.url(), "first"):
        """The schema is not to be the role's own, which is dropped in the end."""
    role = f"few_{uuid4().hex}"
    await run_sql(server.url(), f"create role {role} login connection limit 1 superuser")
    await run_sql(server.url(), f"alter role {role} nosuperuser", f"grant postgres to {role}")
    url = server.url(user=role)
    async with open_backend(url, "full") as backend:
        await backend.enqueue([task("key")])  # it has the one connection
        answers = await asyncio.gather(*(backend.counts() for _ in range(3)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert refused
        for error in refused:
            assert isinstance(error, BackendUnavailable)
            assert "too many connections" in str(error)
        assert len(await backend.counts()) == 1
    await run_sql(server.url(), f"drop role {role}")


async def test_a_read_only_server_is_unavailable_for_now(backend: Backend, server: PostgresServer) -> None:
    await backend.enqueue([task("before")])
    await run_sql(server.url(), "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
    try:
        await closing_connections(server.url())()
        await until_unavailable(lambda: backend.enqueue([task("key")]), "read-only")
    finally:
        await run_sql(
            server.url(),
            "set default_transaction_read_only = off",
            "alter system reset default_transaction_read_only",
            "select pg_reload_conf()",
        )
    await closing_connections(server.url())()
    await until_it_works(lambda: backend.enqueue([task("key")]))


@pytest.mark.parametrize("state", ["53100", "53200", "53400"])
async def test_a_full_disk_is_overload(backend: Backend, server: PostgresServer, state: str) -> None:
    await run_sql(
        server.url(),
        f"""create or replace function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'could not extend file' using errcode = '{state}'; end $$""",
        "create trigger refuse before insert on docket.task execute function refuse()",
    )
    try:
        with pytest.raises(Overloaded, match=state):
            await backend.enqueue([task("key")])
    finally:
        await run_sql(server.url(), "drop trigger refuse on docket.task")
    await backend.enqueue([task("key")])


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_deadlocks_and_serialization_failures_are_retried(
    backend: Backend, server: PostgresServer, state: str
) -> None:
    await run_sql(
        server.url(),
        "create sequence tries",
        f"""create or replace function refuse() returns trigger language plpgsql as $$ begin
            if nextval('tries') < 4 then raise exception 'not now' using errcode = '{state}'; end if; return null;
            end $$""",
        "create trigger refuse before insert on docket.task execute function refuse()",
    )
    try:
        [answer] = await backend.enqueue([task("key")])
        assert answer.status == "accepted"
    finally:
        await run_sql(server.url(), "drop trigger refuse on docket.task", "drop sequence tries")


async def test_a_statement_timeout_of_the_server_is_unavailable(backend: Backend, server: PostgresServer) -> None:
    await backend.enqueue([task("key")])
    connection = await asyncpg.connect(server.url())
    try:
        async with connection.transaction():
            await connection.execute("lock table docket.task in access exclusive mode")
            with pytest.raises(BackendUnavailable):
                await backend.get(["key"])
    finally:
        await connection.close()
    assert await backend.get(["key"]) != [None]


async def test_where_there_is_no_server_opening_says_so(server: PostgresServer) -> None:
    with pytest.raises(BackendUnavailable):
        async with open_backend("postgresql://nobody@127.0.0.1:1/none", "d"):
            pass
    with pytest.raises(BackendError, match="does not exist"):
        async with open_backend(server.url("nowhere"), "d"):
            pass


async def test_a_waiting_worker_hears_again_after_a_restart(backend: Backend, server: PostgresServer) -> None:
    async def wait() -> None:
        mark = (await backend.claim("worker", None, 1, SECOND)).mark
        await backend.wait(None, mark, None)

    await wait()
    server.restart()
    await until_it_works(backend.counts)
    url = server.url()
    sql = "select count(*) from pg_stat_activity where application_name = 'docket listen'"
    async with asyncio.timeout(5):
        while await run_sql(url, sql) != [[1]]:
            await asyncio.sleep(0.05)
    mark = (await backend.claim("worker", None, 0, SECOND)).mark
    waiting = asyncio.ensure_future(backend.wait(None, mark, None))
    await asyncio.sleep(0.05)
    before = time.monotonic()
    async with open_backend(url, backend.name) as other:
        await other.enqueue([task("key")])
    await waiting
    assert time.monotonic() - before < 1.5
