"""Opening: what a URL may say, what stands in the way of a file, and who makes the tables."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from docket_core.backend.capabilities import Durability
from docket_core.backend.model import EnqueueStatus, Task
from docket_core.backend.registry import open_backend
from docket_core.errors import BackendUnavailable, BadOption, ConfigurationError, DocketError, SchemaMismatch
from tests.unit.sqlite.conftest import Open, remount


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/path", "sqlite:///file:x"]
)
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"memory://name"):
        open_backend(url, "d")


@pytest.mark.parametrize("option", ["synchronous=off", "busy_timeout=-1", "max_size=big", "max_size=0", "nothing=1"])
def test_a_bad_option_is_refused(option: str, path: Path) -> None:
    with pytest.raises(BadOption):
        open_backend(f"sqlite:///{path}?{option}", "d")


async def test_a_relative_path_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_backend("sqlite:///some.db", "d") as backend:
        assert backend.capabilities.durability is Durability.FSYNC
    assert (tmp_path / "some.db").is_file()


async def test_synchronous_normal_promises_less(opener: Open) -> None:
    assert opener().capabilities.durability is Durability.PROCESS


async def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no directory .*make it first"):
        async with open_backend(f"sqlite:///{tmp_path}/none/docket.db", "d"):
            pass


async def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="this is a directory"):
        async with open_backend(f"sqlite:///{tmp_path}", "d"):
            pass


async def test_a_file_that_is_no_database(path: Path, opener: Open) -> None:
    path.write_bytes(b"this is a shopping list\n" * 1000)
    with pytest.raises(SchemaMismatch, match="no SQLite database"):
        async with opener():
            pass
    assert path.read_bytes().startswith(b"this is a shopping list")


async def test_tables_of_a_newer_version_are_left_alone(path: Path, opener: Open) -> None:
    async with opener():
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO docket_schema (version) VALUES (99)")
    connection.close()
    with pytest.raises(SchemaMismatch, match=r"version 99.*knows version 1.*update docket-core"):
        async with opener():
            pass


async def test_tables_of_the_users_own_are_left_alone(path: Path, opener: Open) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("PRAGMA user_version = 7")
    async with opener() as backend:
        await backend.enqueue([Task("k", "f", b"", "r")])
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    assert connection.execute("PRAGMA user_version").fetchone() == (7,)
    connection.close()


async def test_eight_processes_make_the_tables_at_once(path: Path) -> None:
    program = dedent(f"""
        import asyncio, sys
        from docket_core.backend.model import Task
        from docket_core.backend.registry import open_backend

        async def main():
            async with open_backend("sqlite:///{path}", "d") as backend:
                print((await backend.enqueue([Task(sys.argv[1], "f", b"", sys.argv[1])]))[0].status.value)

        asyncio.run(main())
    """)
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", program, str(number), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for number in range(8)
    ]
    outcomes = [await process.communicate() for process in started]
    assert [out.strip() for out, _ in outcomes] == [b"accepted"] * 8, outcomes


async def test_a_file_that_cannot_be_written(path: Path, opener: Open) -> None:
    async with opener():
        pass
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        if os.access(path, os.W_OK):
            pytest.skip("this user may write everything")
        with pytest.raises(BackendUnavailable, match="cannot write the file"):
            async with opener():
                pass
    finally:
        path.parent.chmod(0o755)


async def test_a_disk_that_has_become_read_only(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/docket.db"
    async with open_backend(url, "d") as backend:
        await backend.enqueue([Task("k", "f", b"", "r")])
    remount(small_disk, "ro")
    with pytest.raises(BackendUnavailable, match=r"docket\.db: .*(cannot write|cannot be opened)"):
        async with open_backend(url, "d"):
            pass
    remount(small_disk, "rw")
    async with open_backend(url, "d") as backend:
        assert (await backend.get(["k"]))[0] is not None


async def test_dropped_tables_are_made_again(path: Path, opener: Open) -> None:
    async with opener() as backend:
        await backend.enqueue([Task("k", "f", b"", "r")])
        with sqlite3.connect(path) as connection:
            for table in ("docket_tasks", "docket_dockets", "docket_gates"):
                connection.execute(f"DROP TABLE {table}")
        connection.close()
        answer = (await backend.enqueue([Task("k", "f", b"", "r2")]))[0]
        assert answer.status is EnqueueStatus.ACCEPTED
        assert len((await backend.claim("w", {"f"}, 10, 1_000_000)).claims) == 1


async def test_a_file_that_was_taken_away_is_noticed(path: Path, opener: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docket_sqlite.writer._LOOK_AGAIN", 0.0)
    async with opener() as backend:
        await backend.enqueue([Task("k", "f", b"", "r")])
        for file in path.parent.glob("docket.db*"):
            file.unlink()
        await backend.enqueue([Task("other", "f", b"", "r")])
        assert path.is_file()
        found = await backend.get(["k", "other"])
        assert [record is not None for record in found] == [False, True]


async def test_what_is_closed_or_not_open_says_so(opener: Open) -> None:
    backend = opener()
    with pytest.raises(BackendUnavailable, match="not open"):
        await backend.enqueue([Task("k", "f", b"", "r")])
    async with backend:
        pass
    with pytest.raises(BackendUnavailable, match="closed"):
        await backend.enqueue([Task("k", "f", b"", "r")])
    with pytest.raises(DocketError):
        await backend.get(["k"])
