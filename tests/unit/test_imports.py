"""What `import docket_core` brings along, where every driver is installed."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

DRIVERS = ["redis", "hiredis", "asyncpg", "aiosqlite", "sqlalchemy"]
SOURCE = "import docket_core, json, sys; print(json.dumps([n for n in sys.argv[1:] if n in sys.modules]))"


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_is_there_to_be_imported(driver: str) -> None:
    assert find_spec(driver) is not None


def test_importing_docket_core_imports_no_driver() -> None:
    command = [sys.executable, "-c", SOURCE, *DRIVERS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
