"""A third party's backend: a distribution of its own, written from docs/writing-a-backend.md, beside our wheel."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import Built, Installed, run

PLUGIN = Path(__file__).with_name("docket_lmdb")

GREET = """
import asyncio, os
from datetime import timedelta
from docket_core import Docket, Worker

async def greet(name: str) -> list[object]:
    return [f"Hello, {{name}}!", os.getpid()]

async def main() -> None:
    async with Docket(name="greetings", url={url!r}) as docket:
        docket.register(greet)
{body}

asyncio.run(main())
"""

ADDS = """
        execution = await docket.add(greet)("Ada")
        print("added", os.getpid(), flush=True)
        print(await execution.get_result(timeout=timedelta(seconds=30)), flush=True)
"""

WORKS = """
        async with Worker(docket) as worker:
            await worker.run_until_finished()
        print(os.getpid())
"""

OPENS = """
import sys
sys.path.insert(0, {folder!r})
from docket_core.backend import open_backend
from docket_core.errors import ProtocolMismatch

try:
    open_backend("lmdb:///nowhere", "orders")
except ProtocolMismatch as error:
    print(error)
"""

LOADED = """
import json, sys
from docket_core.backend import installed_schemes, load_plugin, open_backend

load_plugin("lmdb")
light = "lmdb" not in sys.modules
open_backend("lmdb:///nowhere", "orders")
print(json.dumps([light, "lmdb" in sys.modules, "docket_memory" in sys.modules, list(installed_schemes())]))
"""


def wheel_of(source: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(python: Path, *arguments: str | Path) -> None:
    command = (
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        python,
        "install",
        "--no-compile",
    )
    run(*command, *arguments, cwd=python.parent)


@pytest.fixture(scope="session")
def beside(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Our wheel, the plugin's wheel, and what the two ask for."""
    folder = tmp_path_factory.mktemp("third_party")
    made = Installed(folder)
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    plugin = wheel_of(PLUGIN, tmp_path_factory.mktemp("plugin"))
    pip(made.python, f"docket-core[conformance] @ {built.wheel.as_uri()}", plugin)
    return made


def imported_from(path: Path) -> set[str]:
    """The modules that a file imports something from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
    return found


def test_it_stands_on_what_is_public() -> None:
    """`docket_core.backend` and `docket_core.errors`, its driver, itself, and nothing else but Python."""
    modules = set[str]().union(*(imported_from(path) for path in PLUGIN.rglob("*.py")))
    others = {module for module in modules if module.partition(".")[0] not in sys.stdlib_module_names}
    public = {module for module in others if re.match(r"docket_core\.(backend|errors)\b", module)}
    assert {module.partition(".")[0] for module in others - public} == {"lmdb", "docket_lmdb"}


def test_it_is_chosen_by_its_scheme_and_brings_its_driver(beside: Installed) -> None:
    """Its driver is imported when a backend is opened, not before, and no other plugin is."""
    light, driver, other, schemes = json.loads(beside.script(LOADED))
    assert (light, driver, other) == (True, True, False)
    assert "lmdb" in schemes


def test_the_command_line_lists_it(beside: Installed) -> None:
    command = beside.python.with_name("docket")
    listed = json.loads(run(command, "backends", "--json", cwd=beside.folder))
    (plugin,) = (one for one in listed if one["scheme"] == "lmdb")
    assert (plugin["title"], plugin["protocol"]) == ("lmdb", 1)
    shown = json.loads(run(command, "backends", "--json", f"lmdb://{beside.folder}/shown", cwd=beside.folder))
    assert (shown["durability"], shown["transactional"], shown["push"]) == ("fsync", False, False)


def test_a_task_goes_from_one_process_to_another(beside: Installed) -> None:
    """One adds and waits for the result, another runs it; each loads the plugin by the URL alone."""
    url = f"lmdb://{beside.folder}/greetings"
    adds = (beside.python, "-I", "-W", "error", "-c", GREET.format(url=url, body=ADDS))
    with subprocess.Popen(adds, cwd=beside.folder, stdout=subprocess.PIPE, text=True) as adding:
        assert adding.stdout is not None
        word, _, adder = adding.stdout.readline().partition(" ")
        assert word == "added"
        worker = int(beside.script(GREET.format(url=url, body=WORKS)))
        assert adding.stdout.read().strip() == str(["Hello, Ada!", worker])
        assert int(adder) != worker
    assert adding.returncode == 0


def test_it_passes_the_suite(beside: Installed) -> None:
    """All but what it declares that it cannot do, and what only its author could break for it."""
    command = (beside.python, "-m", "docket_core.conformance", f"lmdb://{beside.folder}/suite", "-q")
    environment = {**os.environ, "DOCKET_CONFORMANCE_EXAMPLES": "8"}
    done = subprocess.run(command, cwd=beside.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    left_out = set(re.findall(r"'(\w+)': \d+ left out", done.stdout))
    assert left_out == {"disrupt", "open_limited", "push", "transactional"}
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 350


def test_its_authors_own_repository_passes_the_suite(beside: Installed, tmp_path: Path) -> None:
    """The two files of the page, for a few requirements: the rest is the same suite."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["docket_core.conformance.plugin"]\n')
    (tmp_path / "test_conformance.py").write_text(
        "import pytest\n"
        "from docket_core.conformance.suite import *\n\n\n"
        "@pytest.fixture\n"
        "def backend_url(tmp_path):\n"
        '    return f"lmdb://{tmp_path}/store"\n'
    )
    command = (beside.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "TestAdding or TestErrors")
    assert re.search(r"\d\d passed", run(*command, cwd=tmp_path))


def test_another_protocol_is_refused_with_both_numbers(beside: Installed, tmp_path: Path) -> None:
    """The same plugin as it would be written for a later docket-core, built and put in front of this one."""
    source, folder = tmp_path / "source", tmp_path / "later"
    shutil.copytree(PLUGIN, source, ignore=shutil.ignore_patterns("__pycache__"))
    described = source / "docket_lmdb" / "plugin.py"
    described.write_text(described.read_text().replace("protocol=1,", "protocol=2,"))
    pip(beside.python, "--no-deps", "--target", folder, wheel_of(source, tmp_path))
    message = beside.script(OPENS.format(folder=str(folder)))
    assert "lmdb backend speaks protocol 2, this docket-core speaks 1" in message
