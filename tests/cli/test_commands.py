"""The commands that look at a docket and steer it."""

import asyncio
import json
from importlib.metadata import version
from pathlib import Path

import pytest

from docket_core import Docket, ExecutionProgress, Progress, Worker
from docket_core.cli.exit_codes import MEANINGS, ExitCode
from tests.support.command import Command


async def work(url: str) -> None:
    async with Docket(url=url) as docket, Worker(docket) as worker:
        docket.register(count)
        await worker.run_until_finished()


async def count(to: int, progress: ExecutionProgress = Progress()) -> int:
    await progress.set_total(to)
    for number in range(to):
        await progress.set_message(f"at {number}")
        await progress.increment()
    return to


def test_version(docket: Command) -> None:
    assert docket("version").out.strip() == version("docket-core")
    assert docket("version", "--json").json["docket-core"] == version("docket-core")


def test_help_has_examples_and_exit_codes(docket: Command) -> None:
    said = docket("--help")
    assert said.code == 0
    assert "docket demo" in said.out
    assert all(meaning in said.out for meaning in MEANINGS.values())
    assert "\x1b[" not in said.out


@pytest.mark.parametrize("words", [(), ("workers",), ("tasks",)])
def test_without_a_command_help_is_shown(docket: Command, words: tuple[str, ...]) -> None:
    assert "Commands" in docket(*words).out


def test_every_option_has_an_environment_variable(docket: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    docket("tasks", "trace", "hello", "--key", "t")
    monkeypatch.setenv("DOCKET_JSON", "1")
    monkeypatch.setenv("DOCKET_SNAPSHOT_TASKS", "1")
    assert [task["key"] for task in docket("snapshot").json["waiting_tasks"]] == ["t"]
    for words in (
        ("snapshot",),
        ("failed",),
        ("strike",),
        ("watch",),
        ("workers", "ls"),
        ("tasks", "sleep"),
        ("worker",),
        ("bench",),
    ):
        said = docket(*words, "--help").out
        options = [line for line in said.splitlines() if line.lstrip("│ *").startswith("--")]
        assert said.count("env var:") >= len(options) - 1, words  # all but --help itself


def test_tasks_are_put_on_the_docket_and_shown(docket: Command) -> None:
    assert docket("tasks", "trace", "hello", "--key", "t").code == 0
    assert docket("tasks", "sleep", "100ms", "--in", "1:00:00", "--key", "s", "--json").json == {
        "key": "s",
        "task": "sleep",
        "disposition": "scheduled",
        "state": "scheduled",
    }
    assert "already" in docket("tasks", "fail", "--key", "s").out
    shown = docket("snapshot", "--tasks", "--stats", "--json").json
    assert shown["total_tasks"] == 2
    assert (shown["queued"], shown["scheduled"], shown["running"]) == (1, 1, 0)
    assert shown["unknown"] == {"trace": 1, "sleep": 1}
    assert {task["key"]: task["call"] for task in shown["waiting_tasks"]} == {"t": "trace('hello')", "s": "sleep(0.1)"}
    assert shown["functions"]["trace"]["queued"] == 1


def test_a_snapshot_for_people_is_plain_when_piped(docket: Command) -> None:
    docket("tasks", "trace", "[bold]hello", "--key", "t")
    said = docket("snapshot", "--tasks", "--stats")
    assert said.code == 0
    assert "1 tasks: 0 running, 1 queued" in said.out
    assert docket.url in said.out
    assert "wait for a worker that knows trace" in said.out
    assert "trace('[bold]hello')" in said.out, "a task's text is no markup"
    assert "\x1b[" not in said.out


def test_a_task_that_nobody_here_knows_is_shown_without_its_arguments(docket: Command) -> None:
    async def add() -> None:
        async with Docket(url=docket.url) as opened:
            await opened.add(count, key="secret")(7)

    asyncio.run(add())
    (task,) = docket("snapshot", "--tasks", "--json").json["waiting_tasks"]
    assert task["call"] == "count(...)"


def test_cancel(docket: Command) -> None:
    docket("tasks", "sleep", "1s", "--in", "1h", "--key", "s")
    assert docket("cancel", "s").code == 0
    gone = docket("cancel", "s", "--json")
    assert gone.code == ExitCode.NO
    assert gone.json == {"key": "s", "reply": "gone"}


def test_clear(docket: Command) -> None:
    for key in "abc":
        docket("tasks", "trace", "--key", key)
    assert docket("clear", "--json").json == {"docket": "docket", "cleared": 3}
    assert docket("clear").out == "0 tasks cancelled\n"


def test_dockets_are_told_apart_by_name(docket: Command) -> None:
    docket("tasks", "trace", "--docket", "orders")
    assert docket("snapshot", "--json").json["total_tasks"] == 0
    assert docket("snapshot", "--json", "--docket", "orders").json["total_tasks"] == 1


def test_a_strike_keeps_tasks_off_until_it_is_taken_back(docket: Command) -> None:
    rule = ("sleep", "seconds", ">=", "int:5")
    assert docket("strike", *rule).out == "strike: sleep where seconds >= 5\n"
    assert docket("snapshot", "--json").json["strikes"] == ["sleep where seconds >= 5"]
    struck = docket("tasks", "sleep", "10s", "--json")
    assert struck.code == ExitCode.NO
    assert struck.json["disposition"] == "struck"
    assert docket("tasks", "sleep", "1s").code == 0
    assert docket("restore", *rule, "--json").json == {
        "instruction": "restore",
        "function": "sleep",
        "parameter": "seconds",
        "operator": ">=",
        "value": 5,
    }
    assert docket("tasks", "sleep", "10s").code == 0


@pytest.mark.parametrize("words", [("*",), ("sleep", "seconds"), ("sleep", "seconds", "=="), ("sleep", "a", "~", "1")])
def test_a_strike_that_says_too_little_is_refused(docket: Command, words: tuple[str, ...]) -> None:
    assert docket("strike", *words).code == ExitCode.USAGE


def test_workers_are_listed(docket: Command) -> None:
    assert docket("workers", "ls", "--json").json == []
    assert "no worker" in docket("workers", "ls").out

    async def show() -> None:
        async with Docket(url=docket.url) as opened:
            await opened.backend.heartbeat("w1", frozenset({"trace", "count"}), 60_000_000)

    asyncio.run(show())
    (listed,) = docket("workers", "ls", "--json").json
    assert (listed["name"], listed["tasks"]) == ("w1", ["count", "trace"])
    assert "w1" in docket("workers", "for-task", "count").out
    assert docket("workers", "for-task", "nothing").code == ExitCode.NO


def test_watch_follows_a_task_to_its_end(docket: Command) -> None:
    docket("tasks", "trace", "--key", "t")
    docket("tasks", "fail", "no luck", "--key", "f")
    asyncio.run(work(docket.url))
    done = docket("watch", "t", "--json")
    assert done.code == 0
    assert [json.loads(line)["state"] for line in done.out.splitlines()] == ["completed"]
    failed = docket("watch", "f")
    assert failed.code == ExitCode.NO
    assert "failed: RuntimeError: no luck" in failed.out
    unknown = docket("watch", "x")
    assert unknown.code == ExitCode.NO
    assert "'x'" in unknown.err


def test_failed_tasks_are_listed_and_run_again(docket: Command) -> None:
    assert docket("failed").out == "no failed task is kept\n"
    docket("tasks", "fail", "no luck", "--key", "f")
    asyncio.run(work(docket.url))
    (one,) = docket("failed", "--json").json
    assert (one["key"], one["call"], one["attempt"]) == ("f", "fail('no luck')", 1)
    assert "RuntimeError: no luck" in one["error"]
    assert "RuntimeError: no luck" in docket("failed").out
    assert docket("retry", "f", "--json").json == {"key": "f", "disposition": "scheduled", "state": "queued"}
    assert docket("snapshot", "--json").json["queued"] == 1
    unknown = docket("retry", "x")
    assert unknown.code == ExitCode.NO
    assert "'x'" in unknown.err


def test_backends_are_shown_with_their_options(docket: Command) -> None:
    listed = {one["scheme"]: one for one in docket("backends", "--json").json}
    assert {"memory", "sqlite"} <= set(listed)
    assert "synchronous" in listed["sqlite"]["options"]
    said = docket("backends")
    assert "sqlite://" in said.out
    assert "synchronous" in said.out


def test_a_store_shows_what_it_can_do(docket: Command) -> None:
    facts = docket("backends", f"{docket.url}?synchronous=normal", "--json").json
    assert facts["durable"] is facts["distributed"] is True
    assert facts["durability"] == "process"
    assert "distributed      no" in docket("backends", "memory://x").out


@pytest.mark.parametrize(
    "words",
    [
        ("snapshot",),
        ("clear",),
        ("cancel", "k"),
        ("strike", "f"),
        ("restore", "f"),
        ("watch", "k"),
        ("workers", "ls"),
        ("workers", "for-task", "f"),
        ("tasks", "trace"),
        ("failed",),
        ("retry", "k"),
        ("worker",),
        ("worker", "--until-finished"),
    ],
)
def test_a_docket_of_another_process_is_refused_with_what_to_do(docket: Command, words: tuple[str, ...]) -> None:
    said = docket(*words, "--url", "memory://shop")
    assert said.code == ExitCode.NOT_SHARED
    assert "sqlite:///" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("snapshot", "--url", "nosuch://x"), ExitCode.USAGE, "nosuch"),
        (("snapshot", "--url", "sqlite:///{folder}/no/such/folder/x.db"), ExitCode.USAGE, "no directory"),
        (("snapshot", "--url", "sqlite:///x.db?colour=red"), ExitCode.USAGE, "colour"),
        (("snapshot", "--docket", "a\nb"), ExitCode.USAGE, "control characters"),
        (("cancel", "\x07"), ExitCode.USAGE, "control characters"),
        (("worker", "--tasks", "no_such_module:tasks"), ExitCode.USAGE, "no_such_module"),
        (("worker", "--fallback-task", "no_such_module:task"), ExitCode.USAGE, "no_such_module"),
        (("worker", "--dependencies", "no_such_module:some"), ExitCode.USAGE, "no_such_module"),
        (("worker", "--dependencies", "json:dumps"), ExitCode.USAGE, "function"),
        (("worker", "--redelivery-timeout", "1ms"), ExitCode.USAGE, "redelivery_timeout"),
        (("worker", "--max-deliveries", "0"), ExitCode.USAGE, "max_deliveries"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    docket: Command, tmp_path: Path, words: tuple[str, ...], code: ExitCode, told: str
) -> None:
    said = docket(*(word.replace("{folder}", str(tmp_path)) for word in words))
    assert said.code == code
    (line,) = [line for line in said.err.splitlines() if line.startswith("docket:")]
    assert told in line
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch",),
        ("worker", "--max-deliveries", "few"),
        ("worker", "--shutdown-grace", "soon"),
        ("worker", "--concurrency", "0"),
        ("worker", "--logging-format", "xml"),
        ("tasks", "sleep", "a while"),
        ("demo", "--workers", "1"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(docket: Command, words: tuple[str, ...]) -> None:
    assert docket(*words).code == ExitCode.USAGE
