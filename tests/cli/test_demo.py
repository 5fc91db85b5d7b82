"""The demo, as anyone runs it."""

import os
from pathlib import Path

import pytest

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


def test_a_docket_in_memory_is_refused_with_why(folder: Path, tmp_path: Path) -> None:
    said = run("demo", "--folder", str(folder), "--url", "memory://demo", cwd=tmp_path)
    assert said.code == ExitCode.NOT_SHARED
    assert "processes of their own" in said.err


def test_a_demo_that_takes_too_long_says_so_and_leaves_no_worker(folder: Path, scratch: Path, tmp_path: Path) -> None:
    said = demo("--folder", str(folder), "--timeout", "1", cwd=tmp_path, scratch=scratch)
    assert said.code == ExitCode.NO
    assert "it took too long" in said.err
    assert list(scratch.iterdir()) == []
