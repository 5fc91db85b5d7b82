"""Tasks in a caller's own transaction: each way to hand one over, and those that cannot carry tasks."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from docket_core.backend.clock import SECOND
from docket_core.backend.model import EnqueueStatus, OnConflict, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.errors import BackendUnavailable, ConfigurationError
from tests.support.servers.postgres import run_sql


def task(key: str, run: str = "run") -> Task:
    return Task(key, "f", b"", f"{run} of {key}")


@pytest.fixture
async def backend(database: str) -> AsyncIterator[Backend]:
    async with open_backend(database, "join") as opened:
        yield opened


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(database.replace("postgresql://", "postgresql+asyncpg://"))
    yield made
    await made.dispose()


@pytest.fixture
async def connection(database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    made = await asyncpg.connect(database)
    yield made
    await made.close()


async def keys_in(backend: Backend) -> list[str]:
    return sorted(claim.key for claim in (await backend.claim("worker", None, 10, 30 * SECOND)).claims)


async def test_a_session_that_has_not_begun_rolls_back_and_commits(backend: Backend, engine: AsyncEngine) -> None:
    """SQLAlchemy begins lazily: the first statement of the transaction may be ours."""
    async with AsyncSession(engine) as session:
        async with backend.join(session) as joined:
            await joined.enqueue([task("rolled back")])
        await session.rollback()
        async with backend.join(session) as joined:
            await joined.enqueue([task("kept")])
        await session.commit()
    assert await keys_in(backend) == ["kept"]


async def test_a_connection_of_sqlalchemy(backend: Backend, engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin():
        await connection.execute(text("select 1"))
        async with backend.join(connection) as joined:
            answers = await joined.enqueue([task("b"), task("a"), task("b", "other")])
    assert [answer.status for answer in answers] == [
        EnqueueStatus.ACCEPTED,
        EnqueueStatus.ACCEPTED,
        EnqueueStatus.EXISTS,
    ]
    assert await keys_in(backend) == ["a", "b"]


async def test_a_savepoint_takes_its_tasks_with_it(backend: Backend, engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, session.begin():
        nested = await session.begin_nested()
        async with backend.join(session) as joined:
            await joined.enqueue([task("inside")])
        await nested.rollback()
        async with backend.join(session) as joined:
            await joined.enqueue([task("outside")])
    assert await keys_in(backend) == ["outside"]


async def test_a_connection_of_the_driver_and_of_its_pool(
    backend: Backend, connection: "asyncpg.Connection[asyncpg.Record]", database: str
) -> None:
    async with connection.transaction(), backend.join(connection) as joined:
        await joined.schedule([task("direct")])
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool, pool.acquire() as pooled:
        transaction = pooled.transaction()
        await transaction.start()
        async with backend.join(pooled) as joined:
            await joined.schedule([task("pooled")])
        await transaction.rollback()
    assert await keys_in(backend) == ["direct"]


async def test_a_commit_wakes_and_a_rollback_does_not(
    backend: Backend, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    mark = (await backend.claim("worker", None, 1, SECOND)).mark
    waiting = asyncio.ensure_future(backend.wait(None, mark, None))
    while not await connection.fetchval(
        "select count(*) from pg_stat_activity where application_name = 'docket listen'"
    ):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    mark = (await backend.claim("worker", None, 1, SECOND)).mark
    waiting.cancel()
    waiting = asyncio.ensure_future(backend.wait(None, mark, None))
    transaction = connection.transaction()
    await transaction.start()
    async with backend.join(connection) as joined:
        await joined.enqueue([task("key")])
    await transaction.rollback()
    assert not (await asyncio.wait([waiting], timeout=0.2))[0]
    async with connection.transaction(), backend.join(connection) as joined:
        await joined.enqueue([task("key")])
    async with asyncio.timeout(1):
        await waiting
    assert await keys_in(backend) == ["key"]


async def test_an_uncommitted_key_bounds_how_long_others_wait(
    backend: Backend, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with connection.transaction():
        async with backend.join(connection) as joined:
            await joined.enqueue([task("key")])
        with pytest.raises(BackendUnavailable, match="lock timeout"):
            await backend.enqueue([task("key", "other")])
        waiting = asyncio.ensure_future(backend.enqueue([task("key", "other")]))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    [answer] = await waiting
    assert (answer.status, answer.run) == (EnqueueStatus.EXISTS, "run of key")


async def test_a_key_that_is_kept_is_not_locked_until_the_commit(
    backend: Backend, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await backend.enqueue([task("key")])
    async with connection.transaction():
        async with backend.join(connection) as joined:
            [answer] = await joined.enqueue([task("key", "other")])
        assert answer.status is EnqueueStatus.EXISTS
        assert await keys_in(backend) == ["key"]


async def test_a_replace_in_a_transaction_that_rolls_back_changes_nothing(
    backend: Backend, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await backend.schedule([task("key")._replace(delay=60 * SECOND)])
    before = await backend.get(["key"])
    transaction = connection.transaction()
    await transaction.start()
    async with backend.join(connection) as joined:
        await joined.enqueue([task("key", "newer")], OnConflict.REPLACE)
    await transaction.rollback()
    assert await backend.get(["key"]) == before


async def test_what_cannot_carry_tasks_is_refused(
    backend: Backend, engine: AsyncEngine, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async def refused(what: object, words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            async with backend.join(what):
                pass

    await refused(connection, "in no transaction")
    await refused(object(), "cannot carry tasks")
    await refused(engine, "AsyncEngine cannot carry tasks")
    async with engine.connect() as plain:
        automatic = await plain.execution_options(isolation_level="AUTOCOMMIT")
        await refused(automatic, "in no transaction")


async def test_another_database_of_the_same_server_is_refused(backend: Backend, database: str) -> None:
    other = f"{database}_other"
    await run_sql(database, f"create database {other.rpartition('/')[2]}")
    try:
        async with open_backend(other, "join"):
            pass
        connection = await asyncpg.connect(other)
        with pytest.raises(ConfigurationError, match="another database"):
            async with connection.transaction(), backend.join(connection):
                pass
        await connection.close()
    finally:
        await run_sql(database, f"drop database {other.rpartition('/')[2]} with (force)")
