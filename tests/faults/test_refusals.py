"""Cases 21 and 22: a store that answers, but refuses. Workers wait and go on; what is full by its own limit drains."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from docket_core import Docket
from docket_core.codec import JsonCodec
from docket_core.errors import BackendError, BackendUnavailable, Overloaded, SchemaMismatch
from tests.support.servers.postgres import PostgresServer, run_sql
from tests.support.servers.redis import RedisServer
from tests.support.troubled import Troubled, kind_of, troubled
from tests.support.workers import until, until_async, within, work_off, working

QUICK = {"redelivery_timeout": timedelta(seconds=2), "reconnection_delay": timedelta(milliseconds=300)}
REDIS = {
    "-LOADING Redis is loading the dataset in memory": BackendUnavailable,
    "-READONLY You can't write against a read only replica.": BackendUnavailable,
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": BackendUnavailable,
    "-NOAUTH Authentication required.": BackendUnavailable,
    "-ERR max number of clients reached": BackendUnavailable,
    "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": Overloaded,
    "-OOM command not allowed when used memory > 'maxmemory'.": Overloaded,
}
POSTGRES = {
    "25006": BackendUnavailable,  # read-only transaction
    "53300": BackendUnavailable,  # too many connections
    "57014": BackendUnavailable,  # statement timeout
    "57P03": BackendUnavailable,  # starting up
    "53100": Overloaded,  # disk full
    "53200": Overloaded,  # out of memory
    "42501": SchemaMismatch,  # rights that were taken away
}


async def note(key: str) -> str:
    await asyncio.sleep(0)
    return key


@asynccontextmanager
async def opened(url: str, ttl: timedelta = timedelta(minutes=15)) -> AsyncGenerator[Docket, None]:
    async with Docket(f"refusal-{uuid4().hex}", url, codec=JsonCodec(), execution_ttl=ttl) as docket:
        docket.register(note)
        yield docket


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def before_redis(redis: RedisServer) -> AsyncIterator[Troubled]:
    async with troubled(kind_of("redis"), redis) as store:
        yield store


Switch = Callable[[], Awaitable[object]]


async def goes_on_after(
    docket: Docket, refuse: Switch, heal: Switch, error: type[BackendError], log: pytest.LogCaptureFixture
) -> None:
    """A worker under which the store begins to refuse, and stops to."""
    async with working(docket, **QUICK):
        assert await within((await docket.add(note, key="before")("before")).get_result()) == "before"
        due = await docket.add(note, key="due", when=datetime.now(UTC) + timedelta(seconds=0.3))("due")
        await refuse()
        try:
            with pytest.raises(error):
                await docket.add(note, key="refused")("refused")
            await until(lambda: "cannot be claimed from" in log.text)
        finally:
            await heal()
        assert await within((await docket.add(note, key="after")("after")).get_result(), 5) == "after"
        assert await within(due.get_result(), 5) == "due"


@pytest.mark.parametrize("words", REDIS)
async def test_case_21_redis_refuses(before_redis: Troubled, words: str, caplog: pytest.LogCaptureFixture) -> None:
    proxy = before_redis.proxy

    def say(answer: bytes | None) -> Switch:
        async def said() -> None:
            proxy.answering = answer

        return said

    async with opened(before_redis.url) as docket:
        await goes_on_after(docket, say(f"{words}\r\n".encode()), say(None), REDIS[words], caplog)


@pytest.mark.parametrize("state", POSTGRES)
async def test_case_21_postgres_refuses(postgres: PostgresServer, state: str, caplog: pytest.LogCaptureFixture) -> None:
    def sql(*statements: str) -> Switch:
        return lambda: run_sql(postgres.url(), *statements)

    refuse = sql(
        f"""create or replace function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'not now' using errcode = '{state}'; end $$""",
        "create trigger refuse before insert or update or delete on docket.task execute function refuse()",
    )
    async with opened(postgres.url()) as docket:
        await goes_on_after(docket, refuse, sql("drop trigger refuse on docket.task"), POSTGRES[state], caplog)


async def test_case_21_a_file_that_somebody_keeps_locked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "docket.db"
    other = sqlite3.connect(path, isolation_level=None)

    def say(statement: str) -> Switch:
        async def said() -> None:
            other.execute(statement)

        return said

    try:
        async with opened(f"sqlite:///{path}?busy_timeout=50") as docket:
            await goes_on_after(docket, say("BEGIN IMMEDIATE"), say("ROLLBACK"), BackendUnavailable, caplog)
    finally:
        other.close()


class Limited(NamedTuple):
    """A store with a limit of its own."""

    name: str
    url: Callable[[Path, RedisServer], str]

    def __repr__(self) -> str:
        return self.name


def limited_memory(folder: Path, _: RedisServer) -> str:
    return f"memory://{folder.name}?max_tasks=300"


def limited_sqlite(folder: Path, _: RedisServer) -> str:
    return f"sqlite:///{folder}/docket.db?synchronous=normal&max_size=1M"


def limited_redis(_: Path, server: RedisServer) -> str:
    return server.url


LIMITED = [Limited("memory", limited_memory), Limited("sqlite", limited_sqlite), Limited("redis", limited_redis)]


@pytest.mark.parametrize("store", LIMITED, ids=repr)
async def test_case_22_a_store_full_by_its_own_limit_drains(store: Limited, redis: RedisServer, tmp_path: Path) -> None:
    """Adds are refused; claims, acks, heartbeats and results go through, and then there is room again."""
    async with opened(store.url(tmp_path, redis), ttl=timedelta(0)) as docket:
        if store.name == "redis":
            redis.command("CONFIG", "SET", "maxmemory", int(redis.info("memory")["used_memory"]) + 300_000)
        try:
            taken = await fill(docket)
            assert taken > 50
            cancelled = await docket.cancel("k0")
            assert cancelled == "cancelled"
            if store.name == "redis":
                redis.command("CONFIG", "SET", "maxmemory", 1)  # not even what the clients' buffers need
            async with working(docket, **QUICK):
                await until_async(lambda: shows_itself(docket))
                await until_async(lambda: is_drained(docket))
        finally:
            if store.name == "redis":
                redis.command("CONFIG", "SET", "maxmemory", 0)
        await docket.add(note, key="more")("more")
        await work_off(docket)


async def shows_itself(docket: Docket) -> bool:
    return bool(await docket.workers())


async def is_drained(docket: Docket) -> bool:
    return not await docket.backend.counts()


async def fill(docket: Docket) -> int:
    """Add until the store refuses; how many it took."""
    taken = 0
    while True:
        try:
            await docket.add(note, key=f"k{taken}")("x" * 200)
        except Overloaded:
            return taken
        taken += 1
        assert taken < 20_000


async def test_case_22_a_server_that_may_evict_keys_is_reported(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        async with opened(redis.url):
            pass
    finally:
        redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert "DELETES TASKS" in "".join(one.getMessage() for one in caplog.records if one.levelno == logging.ERROR)
