"""A database of its own for each test, on a server that all share, or a server that a test may break."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest

from tests.support.servers.postgres import PostgresServer, shared_postgres_url


async def run_sql(url: str, *statements: str) -> list[list[object]]:
    """Run statements one by one; the rows of the last."""
    connection = await asyncpg.connect(url)
    try:
        rows: list[list[object]] = []
        for statement in statements:
            rows = [list(row.values()) for row in await connection.fetch(statement)]
        return rows
    finally:
        await connection.close()


@pytest.fixture
async def database() -> AsyncIterator[str]:
    """The URL of a fresh database."""
    server = shared_postgres_url()
    name = f"docket_{uuid4().hex}"
    await run_sql(server, f"create database {name}")
    yield f"{server.rpartition('/')[0]}/{name}"
    await run_sql(server, f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own: its tests restart, pause and starve it."""
    with PostgresServer() as started:
        yield started
