"""What a URL says, and what is read from the server when it is opened."""

import asyncio
import time

import asyncpg
import pytest

from docket_core.backend.capabilities import Durability
from docket_core.backend.clock import SECOND
from docket_core.backend.hookspecs import Opening
from docket_core.backend.model import Task
from docket_core.backend.registry import open_backend
from docket_core.backend.url import parse_url
from docket_core.errors import BackendUnavailable, BadOption
from docket_postgres.connections import connect
from docket_postgres.settings import settings_of, target_of
from tests.support.servers.postgres import run_sql

LISTENING = """select count(*) from pg_stat_activity
    where application_name = 'docket listen' and datname = current_database()"""


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_each_scheme_leads_to_the_same_store(database: str, scheme: str) -> None:
    url = database.replace("postgresql", scheme, 1)
    async with open_backend(url, "d") as backend:
        assert backend.capabilities.durability is Durability.FSYNC
        assert backend.capabilities.transactional
        assert backend.url == url


async def test_a_server_that_does_not_wait_for_the_disk_promises_less(database: str) -> None:
    name = database.rpartition("/")[2]
    await run_sql(database, f"alter database {name} set synchronous_commit = off")
    async with open_backend(database, "d") as backend:
        assert backend.capabilities.durability is Durability.PROCESS


async def test_a_password_is_never_shown() -> None:
    backend = open_backend("postgresql://user:s3cret@127.0.0.1:1/none?notify_url=postgresql://user:s3cret@x/y", "d")
    assert "s3cret" not in repr(backend) + backend.url
    with pytest.raises(BackendUnavailable) as caught:
        async with backend:
            pass
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("query", ["schema=a-b", "schema=a$$b", "timeout=0", "pool=x", "notify=perhaps", "sslmode=no"])
def test_a_bad_option_is_refused_when_it_is_opened(query: str) -> None:
    with pytest.raises(BadOption, match=query.partition("=")[0]):
        open_backend(f"postgresql://localhost/x?{query}", "d")


def test_what_belongs_to_the_driver_is_passed_on() -> None:
    dsn, schema = target_of("postgres://user@host/db?schema=other&sslmode=require&notify=false")
    assert (dsn, schema) == ("postgresql://user@host/db?sslmode=require", "other")


async def test_a_notification_is_heard_where_notify_url_listens(database: str) -> None:
    """The URL may lead through a pooler; the one that listens leads to the server."""
    async with open_backend(f"{database}?prepared=false&notify_url={database}", "d") as backend:
        claimed = await backend.claim("worker", None, 0, SECOND)
        waiting = asyncio.ensure_future(backend.wait(None, claimed.mark, None))
        while await run_sql(database, LISTENING) != [[1]]:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        claimed = await backend.claim("worker", None, 0, SECOND)
        waiting.cancel()
        waiting = asyncio.ensure_future(backend.wait(None, claimed.mark, None))
        before = time.monotonic()
        async with open_backend(database, "d") as other:
            await other.enqueue([Task("key", "f", b"", "run")])
        await waiting
        assert time.monotonic() - before < 1.5


async def test_without_notify_the_instance_still_wakes_its_own_waiters(database: str) -> None:
    async with open_backend(f"{database}?notify=false", "d") as backend:
        claimed = await backend.claim("worker", None, 0, SECOND)
        waiting = asyncio.ensure_future(backend.wait(None, claimed.mark, None))
        await asyncio.sleep(0)
        await backend.enqueue([Task("key", "f", b"", "run")])
        assert (await asyncio.wait([waiting], timeout=0.5))[0]


async def test_what_an_array_is_the_server_is_asked_once(database: str) -> None:
    """The driver asks on each connection, for ten milliseconds of the server; a plain one is the control."""

    async def sent(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
        queries: list[str] = []
        with connection.query_logger(lambda logged: queries.append(logged.query)):
            assert await connection.fetchval("select $1::bytea[]", [b"a"]) == [b"a"]
        await connection.close()
        return len(queries)

    settings = settings_of(Opening(parse_url(database), "d", 0, 0, None, {}))
    await sent(await connect(database, settings, "docket"))
    assert await sent(await connect(database, settings, "docket")) == 1
    assert await sent(await asyncpg.connect(database)) > 1


async def test_the_connection_that_opened_it_does_the_first_work(database: str) -> None:
    """A session costs the server some ten milliseconds, more than most of what is done in it."""
    server, _, name = database.rpartition("/")
    sessions = f"select pid from pg_stat_activity where datname = '{name}'"
    async with open_backend(database, "d") as backend:
        opened = await run_sql(f"{server}/postgres", sessions)
        await backend.enqueue([Task("key", "f", b"", "run")])
        assert len(opened) == 1
        assert await run_sql(f"{server}/postgres", sessions) == opened
