"""A file that another connection keeps locked: bounded waits, clear answers, nothing lost."""

import asyncio
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docket_core.backend.model import EnqueueStatus, Task
from docket_core.errors import BackendUnavailable
from tests.unit.sqlite.conftest import Open


@contextmanager
def locked(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """Another user's write transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    finally:
        connection.close()


async def test_a_lock_beyond_busy_timeout_is_unavailable(path: Path, opener: Open) -> None:
    async with opener("busy_timeout=100") as backend:
        with locked(path):
            began = time.monotonic()
            answers = await asyncio.gather(
                *(backend.enqueue([Task(f"k{number}", "f", b"", "r")]) for number in range(5)), return_exceptions=True
            )
            assert 0.1 <= time.monotonic() - began < 2
            for answer in answers:
                assert isinstance(answer, BackendUnavailable)
                assert "busy_timeout" in str(answer)
            assert await backend.get(["k0"]) == [None], "readers are not held up"
        assert (await backend.enqueue([Task("k0", "f", b"", "r")]))[0].status is EnqueueStatus.ACCEPTED


async def test_a_lock_within_busy_timeout_is_waited_for(path: Path, opener: Open) -> None:
    async with opener() as backend:
        with locked(path) as other:
            adding = asyncio.create_task(backend.enqueue([Task("k", "f", b"", "r")]))
            assert await backend.get(["k"]) == [None]
            assert not adding.done()
            other.execute("COMMIT")
            assert (await adding)[0].status is EnqueueStatus.ACCEPTED


async def test_a_file_locked_when_it_is_opened(path: Path, opener: Open) -> None:
    async with opener():
        pass
    with locked(path), pytest.raises(BackendUnavailable, match="busy_timeout"):
        async with opener("busy_timeout=50"):
            pass


async def test_closing_does_not_wait_for_a_lock(path: Path, opener: Open) -> None:
    backend = opener()
    async with backend:
        await backend.claim("w", None, 1, 1_000_000)
        with locked(path):
            began = time.monotonic()
            await backend.__aexit__(None, None, None)
            assert time.monotonic() - began < 2
