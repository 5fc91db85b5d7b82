"""A database of its own for each test, on a server that all share."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.support.servers.postgres import run_sql, shared_postgres_url


@pytest.fixture
async def database() -> AsyncIterator[str]:
    """The URL of a fresh database."""
    server = shared_postgres_url()
    name = f"docket_{uuid4().hex}"
    await run_sql(server, f"create database {name}")
    yield f"{server.rpartition('/')[0]}/{name}"
    await run_sql(server, f"drop database {name} with (force)")
