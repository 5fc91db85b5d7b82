"""What `import docket_core` brings along, where every driver is installed; and what opening a file needs."""

import json
import subprocess
import sys
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path

import pytest

import docket_core

DRIVERS = ["redis", "hiredis", "asyncpg", "aiosqlite", "sqlalchemy"]
LATER = ["typer", "rich", "pydantic", "sqlite3", "importlib.metadata", "email", "opentelemetry.propagate"]
"""What is there, takes long to import, and is needed by some who use docket_core only."""

TELL = "import json, sys; print(json.dumps([n for n in sys.argv[1:] if n in sys.modules]))"
OPEN = """
import asyncio, os
from docket_core import Docket, Worker

async def main():
    async with Docket(url=os.environ["DOCKET_URL"]) as docket, Worker(docket) as worker:
        execution = await docket.add("trace")("hello")
        await worker.run_until_finished()
        await execution.get_result()

asyncio.run(main())
"""


def imported(source: str, names: list[str]) -> list[str]:
    """Which of these modules a new Python has after running `source`."""
    command = [sys.executable, "-c", f"{source}\n{TELL}", *names]
    found: list[str] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


@pytest.mark.parametrize("module", [*DRIVERS, *LATER])
def test_a_module_is_there_to_be_imported(module: str) -> None:
    assert find_spec(module) is not None


def test_importing_docket_core_imports_no_driver_and_nothing_that_is_slow_and_seldom_needed() -> None:
    assert imported("from docket_core import *", [*DRIVERS, *LATER]) == []


def test_each_name_is_there_and_loads_what_it_needs_only() -> None:
    assert sorted(name for name in dir(docket_core) if name in docket_core.__all__) == sorted(docket_core.__all__)
    assert all(getattr(docket_core, name) is not None for name in docket_core.__all__)
    with pytest.raises(AttributeError, match="'docket_core' has no attribute 'Dockett'"):
        attrgetter("Dockett")(docket_core)
    framework = ["docket_core.docket", "docket_core.worker"]
    assert imported("import docket_core.backend", framework) == []
    assert imported("from docket_core import Docket", framework) == ["docket_core.docket"]
    assert imported("from docket_core import *", framework) == framework


def test_only_who_makes_the_tables_of_a_sqlite_file_waits_for_sqlalchemy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKET_URL", f"sqlite:///{tmp_path / 'docket.db'}")
    assert imported(OPEN, ["sqlalchemy", "aiosqlite"]) == ["sqlalchemy"]
    assert imported(OPEN, ["sqlalchemy", "aiosqlite"]) == []


def test_only_who_joins_a_transaction_on_postgres_waits_for_sqlalchemys_asyncio() -> None:
    assert imported("import docket_postgres.backend", ["sqlalchemy.ext.asyncio"]) == []
