"""A SQLite file of each test's own, and instances on it."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from docket_core.backend.clock import Clock, Micros
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend

Open = Callable[..., Backend]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "docket.db"


@pytest.fixture
def opener(path: Path) -> Open:
    """Makes an instance on the test's file, not yet entered."""

    def make(
        options: str = "", name: str = "d", retention: Micros = 900_000_000, clock: Clock | None = None
    ) -> Backend:
        return open_backend(f"sqlite:///{path}?synchronous=normal&{options}", name, retention=retention, clock=clock)

    return make


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def backend(opener: Open) -> AsyncIterator[Backend]:
    async with opener() as opened:
        yield opened


def rows_of(path: Path) -> dict[str, int]:
    """How many rows each of docket's tables has."""
    connection = sqlite3.connect(path)
    try:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if name.startswith("docket_")
        ]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    finally:
        connection.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run([umount, "-l", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    """Make the small disk read-only (`ro`) or writable (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)
