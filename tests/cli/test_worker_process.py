"""A worker as a process of its own: what ends it, and how."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from docket_core import Docket, ExecutionState
from docket_core.cli.exit_codes import ExitCode
from tests.cli.conftest import Starter
from tests.support.command import run
from tests.support.servers.ports import free_port

JOBS = '''
"""Task functions for a worker; `gate` runs until its file is there."""
import asyncio
from pathlib import Path
from docket_core import Perpetual, Depends

async def gate(path: str) -> str:
    print("entered", flush=True)
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return "open"

async def beat(perpetual: Perpetual = Perpetual(automatic=True)) -> None:
    print("beat", flush=True)
    perpetual.cancel()

async def around():
    print("around", flush=True)

tasks = [gate]
beats = [beat]
dependencies = {"around": Depends(around)}

async def lost(*args, **kwargs) -> str:
    return "found"
'''
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(JOBS)


async def add(url: str, function: str, key: str, *args: object) -> None:
    def stand_in(*args: object) -> None: ...

    async with Docket(url=url) as docket:
        if function not in docket.tasks:
            docket.register(stand_in, names=[function])
        await docket.add(function, key=key)(*args)


async def state(url: str, key: str) -> tuple[ExecutionState, int]:
    async with Docket(url=url) as docket:
        (record,) = await docket.backend.get([key])
    assert record is not None
    part = record.live or record.last
    assert part is not None
    return part.state, part.delivery


def said_line(process: subprocess.Popen[str], text: str) -> str:
    """Read the process's standard error until a line has this text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"it never said {text!r}")


def entered(process: subprocess.Popen[str]) -> None:
    """Wait until the task `gate` has begun."""
    assert process.stdout is not None
    assert process.stdout.readline() == "entered\n"


def test_until_finished_runs_what_there_is_and_ends(url: str, tmp_path: Path) -> None:
    (tmp_path / "open").touch()
    asyncio.run(add(url, "gate", "g", str(tmp_path / "open")))
    said = run("worker", "--tasks", "jobs:tasks", "--until-finished", "--url", url, cwd=tmp_path)
    assert said.code == 0
    assert f"kept at {url}" in said.err, "the log tells where the file is"
    assert "nothing left to do" in said.err
    assert "10 tasks at a time: fail, gate, sleep, trace" in said.err
    assert "left for" not in said.err
    assert "functions of yours" not in said.err
    assert "\x1b[" not in said.err
    assert asyncio.run(state(url, "g"))[0] is ExecutionState.COMPLETED


def test_a_worker_that_knows_none_of_what_waits_says_so(url: str, tmp_path: Path) -> None:
    asyncio.run(add(url, "gate", "g", "nowhere"))
    said = run("worker", "--until-finished", "--url", url, cwd=tmp_path)
    assert said.code == 0
    assert "knows no functions of yours: name them with --tasks" in said.err
    assert "left for a worker that knows gate: 1 tasks" in said.err
    assert asyncio.run(state(url, "g"))[0] is ExecutionState.QUEUED


def test_options_are_read_from_variables(tmp_path: Path, url: str) -> None:
    (tmp_path / "open").touch()
    asyncio.run(add(url, "gate", "g", str(tmp_path / "open")))
    variables = {
        "DOCKET_URL": url,
        "DOCKET_WORKER_TASKS": "jobs:tasks",
        "DOCKET_WORKER_UNTIL_FINISHED": "1",
        "DOCKET_WORKER_NAME": "named",
        "DOCKET_WORKER_CONCURRENCY": "3",
        "DOCKET_WORKER_DEPENDENCIES": "jobs:dependencies",
        "DOCKET_WORKER_LOGGING_FORMAT": "json",
        "DOCKET_WORKER_SHUTDOWN_GRACE": "1.5s",
    }
    said = run("worker", cwd=tmp_path, env=variables)
    assert said.code == 0
    lines = [json.loads(line) for line in said.err.splitlines()]
    assert any("worker named starts" in line["message"] and "3 tasks" in line["message"] for line in lines)
    assert said.out.splitlines() == ["around", "entered"]


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_running_tasks_end(
    url: str, tmp_path: Path, started: Starter, number: signal.Signals
) -> None:
    asyncio.run(add(url, "gate", "g", str(tmp_path / "open")))
    worker = started("worker", "--tasks", "jobs:tasks", "--url", url)
    entered(worker)
    worker.send_signal(number)
    said_line(worker, "1 tasks are running")
    assert worker.poll() is None
    (tmp_path / "open").touch()
    assert worker.wait(20) == 0
    assert asyncio.run(state(url, "g")) == (ExecutionState.COMPLETED, 1)


@needs_signals
def test_the_second_signal_leaves_at_once_and_gives_tasks_back(url: str, tmp_path: Path, started: Starter) -> None:
    asyncio.run(add(url, "gate", "g", str(tmp_path / "open")))
    worker = started("worker", "--tasks", "jobs:tasks", "--url", url)
    entered(worker)
    worker.send_signal(signal.SIGTERM)
    said_line(worker, "1 tasks are running")
    worker.send_signal(signal.SIGTERM)
    said_line(worker, "leave at once")
    assert worker.wait(20) == ExitCode.INTERRUPTED
    assert asyncio.run(state(url, "g")) == (ExecutionState.QUEUED, 0), "given back, and not counted as delivered"


@needs_signals
def test_the_grace_bounds_the_drain(url: str, tmp_path: Path, started: Starter) -> None:
    asyncio.run(add(url, "gate", "g", str(tmp_path / "open")))
    worker = started("worker", "--tasks", "jobs:tasks", "--url", url, "--shutdown-grace", "50ms")
    entered(worker)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert asyncio.run(state(url, "g")) == (ExecutionState.QUEUED, 0)


@needs_signals
def test_health_is_served(url: str, started: Starter) -> None:
    asyncio.run(add(url, "trace", "t", "hello"))
    worker = started("worker", "--healthcheck-port", "0", "--url", url)
    port = int(said_line(worker, "on port").rsplit(" ", maxsplit=1)[1])
    said_line(worker, "succeeded")  # it could claim
    for path in ("live", "ready"):
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            assert answer.status == 200
    worker.terminate()
    assert worker.wait(20) == 0


def test_a_taken_port_ends_the_worker(url: str, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = run("worker", "--healthcheck-port", port, "--until-finished", "--url", url, cwd=tmp_path)
    assert said.code == ExitCode.USAGE
    assert port in said.err


def test_unknown_tasks_go_to_the_fallback(url: str, tmp_path: Path) -> None:
    asyncio.run(add(url, "nobody_knows", "n", 1))
    said = run("worker", "--fallback-task", "jobs:lost", "--until-finished", "--url", url, cwd=tmp_path)
    assert said.code == 0
    assert asyncio.run(state(url, "n"))[0] is ExecutionState.COMPLETED


def test_automatic_tasks_give_a_worker_in_memory_something_to_do(tmp_path: Path) -> None:
    said = run("worker", "--tasks", "jobs:beats", "--until-finished", "--url", "memory://beats", cwd=tmp_path)
    assert said.code == 0
    assert said.out == "beat\n"


@needs_signals
def test_metrics_are_served(url: str, started: Starter) -> None:
    pytest.importorskip("opentelemetry.exporter.prometheus", reason="the extra 'metrics' is not installed")
    port = free_port()
    worker = started("worker", "--metrics-port", str(port), "--url", url)
    said_line(worker, "starts on")
    asyncio.run(add(url, "trace", "t", "hello"))
    said_line(worker, "succeeded")
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert b'docket_tasks_started_total{docket_name="docket",docket_task="trace"' in answer.read()
    worker.terminate()
    assert worker.wait(20) == 0
