"""Running the command line: in this process where that is enough, as another one where signals or time matter."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docket_core.cli import main


@dataclass(frozen=True)
class Said:
    """What a command has answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """`docket …` in this process, on one store."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Said:
        """Run it with DOCKET_URL set."""
        self._capsys.readouterr()
        root = logging.getLogger()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
            patch.setenv("DOCKET_URL", self.url)
            patch.setattr(root, "handlers", [])  # `worker` sets up the whole process's log
            patch.setattr(root, "level", root.level)
            patch.setattr(sys, "path", list(sys.path))
            main(arguments)
        out, err = self._capsys.readouterr()
        code = ended.value.code
        return Said(code if isinstance(code, int) else 1 if code else 0, out, err)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything that steers docket."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKET_", "COLUMNS"))}
    return own | dict(more or {})


def start(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """`docket …` as a process of its own, its outputs as text."""
    return subprocess.Popen(
        [sys.executable, "-m", "docket_core", *arguments],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 100) -> Said:
    """`docket …` as a process of its own, to its end."""
    with start(*arguments, cwd=cwd, env=env) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Said(process.returncode, out, err)
