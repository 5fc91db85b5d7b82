"""The demo, as anyone runs it."""

import os
from pathlib import Path

import pytest

from docket_core.cli.demo.command import REDELIVERY_TIMEOUT
from docket_core.cli.demo.evidence import CHECKS
from docket_core.cli.exit_codes import ExitCode
from tests.support.command import Said, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    for number in range(40):
        (made / f"{number}.txt").write_text("line\n" * number)
        (made / f"{number}.md").write_bytes(os.urandom(number))
    return made


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def demo(*arguments: str, cwd: Path, scratch: Path) -> Said:
    return run("demo", *arguments, cwd=cwd, env={"TMPDIR": str(scratch), "DOCKET_URL": "memory://not-this-one"})


def test_the_demo_is_right_and_leaves_nothing_behind(folder: Path, scratch: Path, tmp_path: Path) -> None:
    said = demo("--folder", str(folder), "--json", cwd=tmp_path, scratch=scratch)
    assert said.code == 0, f"{said.out}\n{said.err}"
    told = said.json
    assert told["right"] is True
    assert (told["files"], told["done"], told["lost"], told["wrong"]) == (80, 80, 0, 0)
    assert told["checks"] == dict.fromkeys(CHECKS, True)
    assert told["struck"] > 0
    assert told["redelivered"] == sum(told["redelivered_by"].values()) > 0
    assert "worker-1" not in told["redelivered_by"], "a killed worker ends nothing"
    assert told["totals"]["lines"] >= sum(range(40))
    assert told["totals"] == {name: told["plain_loop"][name] for name in told["totals"]}
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "scratch"]


def test_the_demo_shows_what_happens(folder: Path, scratch: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kept.db'}"
    said = demo("--folder", str(folder), "--url", url, "--workers", "3", cwd=tmp_path, scratch=scratch)
    assert said.code == 0, f"{said.out}\n{said.err}"
    for text in (
        "worker-3",
        "strike",
        "restore",
        "SIGKILL for worker-1",
        "worker-4",
        "tasks per second",
        "all is right",
    ):
        assert text in said.out
    assert "\x1b[" not in said.out
    assert (tmp_path / "kept.db").exists()


def test_in_memory_the_workers_are_threads(folder: Path, scratch: Path, tmp_path: Path) -> None:
    """All is checked as it is between processes; a thread that is cut off ends nothing, and its leases run out."""
    said = demo("--folder", str(folder), "--url", "memory://demo", "--json", cwd=tmp_path, scratch=scratch)
    assert said.code == 0, f"{said.out}\n{said.err}"
    assert said.err == ""
    told = said.json
    assert told["checks"] == dict.fromkeys(CHECKS, True)
    assert (told["done"], told["lost"], told["wrong"]) == (80, 0, 0)
    assert told["held_at_kill"] == told["redelivered"] == sum(told["redelivered_by"].values()) > 0
    assert "worker-1" not in told["redelivered_by"], "a killed worker ends nothing"
    assert told["seconds"] > REDELIVERY_TIMEOUT, "the killed worker's leases had to run out"
    assert list(scratch.iterdir()) == []


def test_threads_are_shown_as_such(folder: Path, scratch: Path, tmp_path: Path) -> None:
    said = demo("--folder", str(folder), "--url", "memory://demo", cwd=tmp_path, scratch=scratch)
    assert said.code == 0, f"{said.out}\n{said.err}"
    for text in ("worker-2 is there, a thread", "the end of worker-1", "told to stop", "all is right"):
        assert text in said.out


def test_a_demo_in_memory_that_takes_too_long_says_so(folder: Path, scratch: Path, tmp_path: Path) -> None:
    arguments = ("--folder", str(folder), "--url", "memory://demo", "--timeout", "1")
    said = demo(*arguments, cwd=tmp_path, scratch=scratch)
    assert said.code == ExitCode.NO
    assert "it took too long" in said.err
    assert list(scratch.iterdir()) == []


def test_a_demo_that_takes_too_long_says_so_and_leaves_no_worker(folder: Path, scratch: Path, tmp_path: Path) -> None:
    said = demo("--folder", str(folder), "--timeout", "1", cwd=tmp_path, scratch=scratch)
    assert said.code == ExitCode.NO
    assert "it took too long" in said.err
    assert list(scratch.iterdir()) == []
