"""A synchronous docket in programs that fork, as servers with a preloaded application do, and that just end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import environment
from tests.support.urls import SHARED, Store

BEGIN = """
import logging, os, sys, threading, warnings
from datetime import timedelta
logging.disable(logging.WARNING)  # a store that is not durable says so
warnings.simplefilter("error")
from docket_core.sync import SyncDocket

async def work(number: int) -> None: ...

docket = SyncDocket("orders", sys.argv[1])
docket.register(work)
HOUR = timedelta(hours=1)

def in_child(body):
    pid = os.fork()
    if not pid:
        try:
            body()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
"""

IDLE = """
before = docket.add("work", HOUR, "parent")(1)

def child():
    assert docket.add("work", HOUR, "child")(2).disposition.value == "scheduled"
    before.sync()
    assert docket.cancel("parent").value == "cancelled"

in_child(child)
in_child(lambda: docket.add("work", HOUR, "second")(3))
before.sync()
assert before.state.value == "cancelled", before
print(sorted(execution.key for execution in docket.snapshot().future))
"""

BUSY = """
before = docket.add("work", HOUR, "parent")(1)
begun = threading.Event()

def wait():
    try:
        before.get_result()
    except RuntimeError:
        pass

async def look(docket):
    begun.set()
    import asyncio
    await asyncio.Event().wait()

def hold():
    try:
        docket.run(look)
    except RuntimeError:
        pass

threads = [threading.Thread(target=wait), threading.Thread(target=hold)]
for thread in threads:
    thread.start()
begun.wait()
if sys.version_info >= (3, 12):
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

def child():
    assert docket.add("work", HOUR, "child")(2).disposition.value == "scheduled"
    assert docket.get_execution("parent").state.value == "scheduled"
    try:
        before.sync()
    except RuntimeError as error:
        assert "forked" in str(error)
    else:
        raise AssertionError("a handle of the parent was used")

in_child(child)
assert docket.add("work", HOUR, "after")(3).disposition.value == "scheduled"
print(sorted(execution.key for execution in docket.snapshot().future))
docket.close()
for thread in threads:
    thread.join()
"""

LEFT_OPEN = """
print(docket.add("work", HOUR, "left")(1).key)
"""


@pytest.fixture(params=SHARED, ids=repr)
def store(request: pytest.FixtureRequest) -> Store:
    """The stores that several processes can open."""
    chosen: Store = request.param
    return chosen


def ran(script: str, url: str, folder: Path, begin: str = BEGIN) -> str:
    """What a program says that has to end by itself and without a complaint."""
    command = [sys.executable, "-W", "error", "-c", begin + script, url]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_a_fork_finds_it_closed_and_both_sides_go_on(docket_url: str, tmp_path: Path) -> None:
    assert ran(IDLE, docket_url, tmp_path) == "['child', 'second']"


@pytest.mark.parametrize("store", [store for store in SHARED if store.name != "sqlite"], ids=repr)
def test_a_fork_during_a_call_leaves_the_parent_alone(docket_url: str, tmp_path: Path) -> None:
    """On SQLite nothing is promised then: what it has open must not be inherited."""
    assert ran(BUSY, docket_url, tmp_path) == "['after', 'child', 'parent']"


def test_importing_it_loads_no_driver(tmp_path: Path) -> None:
    script = "import sys, docket_core.sync; print({'aiosqlite', 'asyncpg', 'redis', 'sqlalchemy'} & sys.modules.keys())"
    assert ran(script, "", tmp_path, begin="") == "set()"


def test_the_end_of_the_program_closes_what_was_left_open(docket_url: str, tmp_path: Path) -> None:
    assert ran(LEFT_OPEN, docket_url, tmp_path) == "left"
