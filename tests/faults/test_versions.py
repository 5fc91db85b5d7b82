"""Case 25: what a store says of its version: newer, nothing, or two who make it at the same time."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.errors import SchemaMismatch
from tests.support.servers import redis
from tests.support.servers.postgres import run_sql, shared_postgres_url

NAME = "versions"


class Marked(NamedTuple):
    """A store of the test's own, and its mark."""

    url: str
    write: Callable[[int | None], Awaitable[None]]
    """Mark it with a version, or take the mark away."""
    read: Callable[[], Awaitable[list[int]]]
    """All marks there are."""


def sqlite_store(folder: Path) -> Marked:
    path = folder / "docket.db"

    def execute(*statements: str) -> list[int]:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            return [row[0] for statement in statements for row in connection.execute(statement)]
        finally:
            connection.close()

    async def write(version: int | None) -> None:
        execute("DELETE FROM docket_schema")
        if version is not None:
            execute(f"INSERT INTO docket_schema (version) VALUES ({version})")

    async def read() -> list[int]:
        return execute("SELECT version FROM docket_schema")

    return Marked(f"sqlite:///{path}", write, read)


def postgres_store() -> Marked:
    server, schema = shared_postgres_url(), f"versions_{uuid4().hex}"

    async def write(version: int | None) -> None:
        await run_sql(server, f"delete from {schema}.version")
        if version is not None:
            await run_sql(server, f"insert into {schema}.version (version, compatible) values ({version}, {version})")

    async def read() -> list[int]:
        return [int(str(row[0])) for row in await run_sql(server, f"select version from {schema}.version")]

    return Marked(f"{server}?schema={schema}", write, read)


def redis_store() -> Marked:
    url = redis.shared_url("6.2")
    port = int(url.rpartition(":")[2])
    redis.command("127.0.0.1", port, "FLUSHALL")
    key = f"docket:{{{NAME}}}:m"

    async def write(version: int | None) -> None:
        command = ("HDEL", key, "v") if version is None else ("HSET", key, "v", version)
        redis.command("127.0.0.1", port, *command)

    async def read() -> list[int]:
        told = redis.command("127.0.0.1", port, "HGET", key, "v")
        return [int(told)] if isinstance(told, bytes) else []

    return Marked(url, write, read)


@pytest.fixture(params=["sqlite", "postgres", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Marked]:
    match request.param:
        case "sqlite":
            yield sqlite_store(tmp_path)
        case "postgres":
            made = postgres_store()
            yield made
            server, _, schema = made.url.partition("?schema=")
            await run_sql(server, f"drop schema if exists {schema} cascade")
        case _:
            yield redis_store()


def task(key: str) -> Task:
    return Task(key, "f", b"payload", f"run of {key}")


def opened(store: Marked) -> Backend:
    return open_backend(store.url, NAME)


async def test_case_25_a_store_of_a_newer_version_is_refused_and_left_alone(store: Marked) -> None:
    async with opened(store) as backend:
        await backend.enqueue([task("key")])
    [ours] = await store.read()
    await store.write(99)
    with pytest.raises(SchemaMismatch, match="99"):
        async with opened(store):
            pass
    assert await store.read() == [99]
    await store.write(ours)
    async with opened(store) as backend:
        assert (await backend.get(["key"]))[0] is not None


async def test_case_25_a_store_without_a_mark_is_marked_and_its_tasks_are_read(store: Marked) -> None:
    """As one that was left half made, or that an older version made without a mark."""
    async with opened(store) as backend:
        await backend.enqueue([task("queued"), task("running")])
        [claim] = (await backend.claim("worker", {"f"}, 1, 30 * SECOND)).claims
    before = await store.read()
    await store.write(None)
    async with opened(store) as backend:
        assert await backend.ack([Ack.complete(claim, b"result")]) == [Acked.ACKED]
        [other] = (await backend.claim("worker", {"f"}, 5, 30 * SECOND)).claims
        assert {claim.key, other.key} == {"queued", "running"}
        assert other.payload == b"payload"
        await backend.enqueue([task("more")])
    assert await store.read() == before


async def test_case_25_many_who_make_a_store_at_once_make_it_once(store: Marked) -> None:
    async def use(number: int) -> None:
        async with opened(store) as backend:
            [answer] = await backend.enqueue([task(f"key-{number}")])
            assert answer.status == "accepted"

    await asyncio.gather(*(use(number) for number in range(8)))
    assert len(await store.read()) == 1
    async with opened(store) as backend:
        assert None not in await backend.get([f"key-{number}" for number in range(8)])
