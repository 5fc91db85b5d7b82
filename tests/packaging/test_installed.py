"""The wheel, installed without extras where nothing else is."""

import json
import subprocess
import sys

import pytest

from tests.packaging.conftest import Installed

HELLO = """
import asyncio, json, sys
from docket_core import Docket, Worker

greeted = []

async def greet(name: str) -> str:
    greeted.append(name)
    return f"Hello, {{name}}!"

async def main() -> None:
    async with Docket(name="greetings", url={url!r}) as docket:
        docket.register(greet)
        execution = await docket.add(greet)("Ada")
        async with Worker(docket) as worker:
            await worker.run_until_finished()
        assert await execution.get_result() == "Hello, Ada!"

asyncio.run(main())
assert greeted == ["Ada"]
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""

MODULES = """
import json, sys
from docket_core import *
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

STARTS = """
import os, sys, time

def seconds(source):
    began = time.perf_counter()
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", source], os.environ), 0)
    return time.perf_counter() - began

names = "from docket_core import Cron, Docket, Retry, Worker"
sources = ["pass", "import asyncio", "import docket_core", names]
best = dict.fromkeys(sources, float("inf"))
for _ in range(8):
    best = {source: min(known, seconds(source)) for source, known in best.items()}
    bare = best["pass"]
    if best[names] - bare < 0.14:
        break
print(*(best[source] - bare for source in sources[1:]))
"""
"""How much longer than a bare Python these take, the best of up to eight times: a loaded machine only ever adds."""

NAMES = """
import json
from importlib.util import find_spec
print(json.dumps({name: find_spec(name) is not None for name in %r}))
"""

REFUSALS = """
import json
from importlib.util import find_spec
from docket_core.backend.registry import installed_schemes, load_plugin, open_backend
from docket_core.errors import MissingExtra

answers = {}
for scheme in installed_schemes():
    plugin = load_plugin(scheme)
    if plugin.driver is not None and find_spec(plugin.driver) is None:
        try:
            open_backend(f"{scheme}://localhost", "orders")
        except MissingExtra as error:
            answers[scheme] = [plugin.extra, str(error)]
        else:
            answers[scheme] = [plugin.extra, "opened without its driver"]
print(json.dumps(answers))
"""


@pytest.mark.parametrize("url", ["memory://greetings", "sqlite:///greetings.db"])
def test_it_runs_a_task_and_loads_no_driver_of_another_store(installed: Installed, url: str) -> None:
    loaded = set(json.loads(installed.script(HELLO.format(url=url))))
    scheme = url.partition(":")[0]
    assert f"docket_{scheme}" in loaded
    assert not loaded & {"redis", "asyncpg", "fakeredis", "pytest", "hypothesis"}
    if scheme == "memory":
        assert not loaded & {"docket_sqlite", "aiosqlite", "sqlalchemy"}


def test_importing_it_takes_no_time_that_one_would_notice(installed: Installed) -> None:
    """On a machine so loaded that even the best time is no measure, what asyncio alone takes is the yardstick: with all
    that an application uses we take three times that, and the command line or SQLAlchemy would make it eight."""
    asyncio, package, names = map(float, installed.script(STARTS).split())
    assert package < 0.150
    assert names < max(0.150, 6 * asyncio)


def test_importing_it_loads_neither_a_store_nor_the_command_line(installed: Installed) -> None:
    loaded = set(json.loads(installed.script(MODULES)))
    assert "docket_core" in loaded
    assert not loaded & {"docket_memory", "docket_sqlite", "aiosqlite", "sqlalchemy", "sqlite3", "typer", "rich"}


def test_no_extra_was_needed(installed: Installed) -> None:
    names = ["redis", "asyncpg", "hiredis", "pytest", "hypothesis", "opentelemetry.sdk"]
    assert not [name for name, there in json.loads(installed.script(NAMES % names)).items() if there]


def test_neither_the_folders_nor_the_name_docket_are_taken(installed: Installed) -> None:
    names = ["docket", "backends", "contrib", "tests", "benchmarks"]
    assert not [name for name, there in json.loads(installed.script(NAMES % names)).items() if there]


def test_a_backend_without_its_driver_names_the_extra(installed: Installed) -> None:
    answers = json.loads(installed.script(REFUSALS))
    assert "redis" in answers
    assert "postgres" in {scheme.replace("postgresql", "postgres") for scheme in answers}
    for extra, message in answers.values():
        assert f"pip install '{extra}'" in message


@pytest.mark.parametrize("command", ["docket", "docket-core"])
def test_the_command_lines_are_there(installed: Installed, command: str) -> None:
    """`backends` looks at every plugin, so it also shows that none needs its driver for that."""
    script = installed.python.with_name(command)
    done = subprocess.run([script, "backends"], cwd=installed.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "memory" in done.stdout
    assert "sqlite" in done.stdout


def test_it_is_typed_for_those_who_use_it(installed: Installed) -> None:
    source = """
from docket_core.backend.kit import recovery_delay
reveal_type(recovery_delay(1, None))
"""
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed.python), "-c", source]
    done = subprocess.run(command, cwd=installed.folder, capture_output=True, text=True, check=False)
    assert 'Revealed type is "int"' in done.stdout.replace("builtins.int", "int"), done.stdout
    assert done.returncode == 0


def test_a_public_name_that_is_not_there_is_seen_by_who_checks_types(installed: Installed) -> None:
    source = "from docket_core import Docket, Dockett"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed.python), "-c", source]
    done = subprocess.run(command, cwd=installed.folder, capture_output=True, text=True, check=False)
    assert 'has no attribute "Dockett"' in done.stdout
    assert "Found 1 error" in done.stdout


def test_what_needs_fastapi_says_how_to_install_it(installed: Installed) -> None:
    script = "try:\n    import docket_fastapi\nexcept ModuleNotFoundError as error:\n    print(error)"
    assert "pip install 'docket-core[fastapi]'" in installed.script(script)
