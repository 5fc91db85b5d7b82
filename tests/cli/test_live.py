"""What is shown while something runs, and what a terminal sees."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docket_core import Docket, ExecutionProgress, Progress, Worker
from tests.cli.conftest import Starter
from tests.support.command import environment


async def climb(steps: int, progress: ExecutionProgress = Progress()) -> None:
    await progress.set_total(steps)
    for step in range(steps):
        await progress.set_message(f"step\x1b[31m {step}")
        await progress.increment()


async def work(url: str) -> None:
    async with Docket(url=url) as docket, Worker(docket, "w") as worker:
        docket.register(climb)
        await worker.run_until_finished()


async def add(url: str) -> None:
    async with Docket(url=url) as docket:
        await docket.add(climb, key="c")(3)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_watch_tells_each_event_as_it_comes(url: str, started: Starter) -> None:
    asyncio.run(add(url))
    watcher = started("watch", "c", "--json", "--url", url)
    assert json.loads(first_line(watcher))["state"] == "queued"
    asyncio.run(work(url))
    out, _ = watcher.communicate(timeout=30)
    events = [json.loads(line) for line in out.splitlines()]
    states = [event["state"] for event in events if event["type"] == "state"]
    assert states[-1] == "completed"
    assert states in (["running", "completed"], ["completed"]), "what lies between may be left out"
    counts = [event["current"] for event in events if event["type"] == "progress"]
    assert counts == sorted(counts)
    assert watcher.returncode == 0


def test_watch_for_people_is_plain_when_piped(url: str, started: Starter) -> None:
    asyncio.run(add(url))
    watcher = started("watch", "c", "--url", url)
    assert first_line(watcher).endswith("queued\n")
    asyncio.run(work(url))
    out, _ = watcher.communicate(timeout=30)
    assert out.splitlines()[-1].endswith("completed")
    assert "\x1b" not in out, "not even where a task's message has some"


def on_a_terminal(*arguments: str, cwd: Path, **variables: str) -> str:
    """What `docket …` writes to a terminal."""
    if sys.platform == "win32":
        pytest.skip("pseudo-terminals of POSIX")
    import pty

    main, side = pty.openpty()
    command = [sys.executable, "-m", "docket_core", *arguments]
    env = environment({"TERM": "xterm-256color", **variables})
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=side, stdout=side, stderr=side) as process:
        os.close(side)
        written = b""
        try:
            while block := os.read(main, 65536):
                written += block
        except OSError:  # how Linux says that the other side is closed
            pass
        process.wait(30)
    os.close(main)
    return written.decode()


@pytest.mark.parametrize("words", [("--help",), ("snapshot", "--url", "nosuch://x"), ("worker", "--until-finished")])
def test_a_terminal_gets_colours(words: tuple[str, ...], url: str, tmp_path: Path) -> None:
    shown = on_a_terminal(*words, cwd=tmp_path, DOCKET_URL=url)
    assert "\x1b[" in shown
    assert "Traceback" not in shown


def test_a_terminal_of_someone_who_wants_no_colour_gets_none(tmp_path: Path) -> None:
    shown = on_a_terminal("snapshot", "--url", "nosuch://x", cwd=tmp_path, NO_COLOR="1")
    assert "nosuch" in shown
    assert "\x1b[3" not in shown


def test_a_progress_bar_is_drawn_on_a_terminal(url: str, tmp_path: Path) -> None:
    asyncio.run(add(url))
    asyncio.run(work(url))
    shown = on_a_terminal("watch", "c", cwd=tmp_path, DOCKET_URL=url)
    assert "climb c" in shown
    assert "completed" in shown
    assert "━" in shown


def test_a_task_that_tells_no_progress_leaves_no_bar_behind(url: str, tmp_path: Path) -> None:
    async def put_and_run() -> None:
        async with Docket(url=url) as docket, Worker(docket, "w") as worker:
            await docket.add("sleep", key="nap")(0)
            await worker.run_until_finished()

    asyncio.run(put_and_run())
    shown = on_a_terminal("watch", "nap", cwd=tmp_path, DOCKET_URL=url)
    assert "completed" in shown
    assert "━" not in shown.rpartition("\x1b[2K")[2], "it is erased at the end"
