"""What the tests of the command line stand on."""

import subprocess
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest

from tests.support.command import Command, start


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store that processes share."""
    return f"sqlite:///{tmp_path / 'docket.db'}"


@pytest.fixture
def docket(url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """`docket …` on that store, in this process."""
    return Command(url, capsys)


Starter = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def started(tmp_path: Path) -> Generator[Starter, None, None]:
    """Starts `docket …` as processes that do not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        process = start(*arguments, cwd=tmp_path, env=env)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with process:
            process.kill()
