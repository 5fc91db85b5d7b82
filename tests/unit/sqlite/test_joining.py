"""Tasks in a caller's own transaction, on every kind of connection that can carry them."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import aiosqlite
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from docket_core.backend.model import EnqueueStatus, OnConflict, Task
from docket_core.backend.protocol import Backend
from docket_core.errors import BackendUnavailable, ConfigurationError
from tests.unit.sqlite.conftest import Open


class Connect(Protocol):
    """Gives a connection of some kind, and how to write with it, commit and roll back."""

    def __call__(self) -> AbstractAsyncContextManager["Caller"]: ...


class Caller:
    """A caller's connection."""

    def __init__(self, connection: object) -> None:
        self.connection = connection

    async def write(self) -> None:
        statement = "INSERT INTO orders VALUES (1)"
        if isinstance(self.connection, sqlite3.Connection):
            self.connection.execute(statement)
        elif isinstance(self.connection, aiosqlite.Connection):
            await self.connection.execute(statement)
        else:
            await self.connection.execute(text(statement))  # type: ignore[attr-defined]

    async def end(self, how: str) -> None:
        outcome = getattr(self.connection, how)()
        if outcome is not None:
            await outcome


@pytest.fixture
async def engine(path: Path) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with made.begin() as connection:
        await connection.execute(text("CREATE TABLE orders (id INTEGER)"))
    yield made
    await made.dispose()


@pytest.fixture(params=["session", "connection", "aiosqlite", "sqlite3"])
def connect(request: pytest.FixtureRequest, engine: AsyncEngine, path: Path) -> Connect:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[Caller, None]:
        match request.param:
            case "session":
                async with AsyncSession(engine) as session:
                    yield Caller(session)
            case "connection":
                async with engine.connect() as connection:
                    yield Caller(connection)
            case "aiosqlite":
                async with aiosqlite.connect(path) as driver:
                    yield Caller(driver)
            case _:
                plain = sqlite3.connect(path)
                yield Caller(plain)
                plain.close()

    return opened


async def orders(path: Path) -> int:
    async with aiosqlite.connect(path) as connection:
        rows = list(await connection.execute_fetchall("SELECT count(*) FROM orders"))
    return int(rows[0][0])


@pytest.mark.parametrize("writes_first", [True, False])
async def test_commit_makes_both_or_rollback_neither(
    backend: Backend, connect: Connect, path: Path, writes_first: bool
) -> None:
    for how, there in (("rollback", 0), ("commit", 1)):
        async with connect() as caller:
            if writes_first:
                await caller.write()
            async with backend.join(caller.connection) as tx:
                answer, again = await tx.enqueue([Task("k", "f", b"p", "r"), Task("k", "f", b"p", "r2")])
            if not writes_first:
                await caller.write()
            assert (answer.status, again.status) == (EnqueueStatus.ACCEPTED, EnqueueStatus.EXISTS)
            assert await backend.get(["k"]) == [None]
            await caller.end(how)
        found = (await backend.get(["k"]))[0]
        assert (found is not None, await orders(path)) == (bool(there), there)


async def test_it_sees_and_replaces_what_is_there(backend: Backend, connect: Connect) -> None:
    await backend.enqueue([Task("k", "f", b"old", "old")])
    async with connect() as caller:
        async with backend.join(caller.connection) as tx:
            kept, replaced = await tx.schedule([Task("k", "f", b"new", "new")]), None
            assert (kept[0].status, kept[0].run) == (EnqueueStatus.EXISTS, "old")
            replaced = await tx.schedule([Task("k", "f", b"new", "new", delay=5)], OnConflict.REPLACE)
            assert replaced[0].generation == 2
        await caller.end("commit")
    record = (await backend.get(["k"]))[0]
    assert record is not None
    assert record.live is not None
    assert record.live.payload == b"new"


async def test_a_commit_wakes_who_waits(backend: Backend, connect: Connect) -> None:
    mark = (await backend.claim("w", {"f"}, 1, 1_000_000)).mark
    waiting = asyncio.create_task(backend.wait({"f"}, mark, None))
    async with connect() as caller:
        async with backend.join(caller.connection) as tx:
            await tx.enqueue([Task("k", "f", b"p", "r")])
        assert not waiting.done()
        await caller.end("commit")
        async with asyncio.timeout(1):
            await waiting
    assert len((await backend.claim("w", {"f"}, 1, 1_000_000)).claims) == 1


async def test_a_connection_to_elsewhere_is_refused(backend: Backend, tmp_path: Path) -> None:
    for place in (":memory:", str(tmp_path / "other.db")):
        async with aiosqlite.connect(place) as driver, backend.join(driver) as tx:
            with pytest.raises(ConfigurationError, match="can only join a transaction on"):
                await tx.enqueue([Task("k", "f", b"p", "r")])
    with pytest.raises(ConfigurationError, match=r"builtins\.object cannot carry tasks"):
        backend.join(object())


async def test_a_transaction_that_read_an_older_state_is_told_what_to_do(backend: Backend, path: Path) -> None:
    await backend.enqueue([Task("first", "f", b"p", "r")])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM docket_tasks").fetchone()
    await backend.enqueue([Task("second", "f", b"p", "r")])
    async with backend.join(connection) as tx:
        with pytest.raises(BackendUnavailable, match="locked"):
            await tx.enqueue([Task("k", "f", b"p", "r")])
    connection.close()


async def test_a_row_factory_of_the_caller_does_not_matter(backend: Backend, path: Path, opener: Open) -> None:
    connection = sqlite3.connect(path)
    connection.row_factory = lambda _, row: {"first": row[0]}
    async with backend.join(connection) as tx:
        assert (await tx.enqueue([Task("k", "f", b"p", "r")]))[0].status is EnqueueStatus.ACCEPTED
    connection.commit()
    connection.close()
    async with opener() as other:
        assert (await other.get(["k"]))[0] is not None
