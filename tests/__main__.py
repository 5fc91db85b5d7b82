"""Everything that is checked, in one command: `python -m tests [--no-lint] [options and paths for pytest]`.

Static checks first, two at a time and silent unless they fail; then pytest. Without options of its own pytest runs
everything, in four processes, and measures branch coverage. Its summary is the last line; the exit code is 0 only if
all went well.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = ["--cov", "--cov-report=term", "--numprocesses=4"]
"""Most tests wait more than they compute, so four processes serve two cores well."""


class Check(NamedTuple):
    name: str
    arguments: list[str]


CHECKS = [  # the longest first: they run two at a time
    Check("basedpyright", ["-m", "basedpyright", "--warnings"]),
    Check("mypy", ["-m", "mypy"]),
    Check("lint-imports", ["-c", "from importlinter.cli import lint_imports_command as run; run()"]),
    Check("ruff check", ["-m", "ruff", "check", "."]),
    Check("ruff format", ["-m", "ruff", "format", "--check", "."]),
]


class FailedChecks:
    """Reminds at the end of pytest's output of what failed before it began."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.names:
            terminalreporter.section("static checks", red=True)
            terminalreporter.line(f"failed, see the top: {', '.join(self.names)}", red=True)


def passes(check: Check) -> bool:
    """Run one check; a line on success, its whole output otherwise."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, *check.arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    line = f"{check.name:<14}{'ok' if done.returncode == 0 else 'FAILED':<8}{time.monotonic() - begun:5.1f} s"
    text = line if done.returncode == 0 else f"{line}\n{done.stdout.decode(errors='replace')}"
    print(text, flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    failed: list[str] = []
    if "--no-lint" not in arguments:
        with ThreadPoolExecutor(2) as pool:
            failed = [check.name for check, passed in zip(CHECKS, pool.map(passes, CHECKS), strict=True) if not passed]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes are started by the hundred: let them compile once
    options = [argument for argument in arguments if argument != "--no-lint"]
    code = pytest.main([f"--rootdir={ROOT}", *(options or EVERYTHING)], plugins=[FailedChecks(failed)])
    return int(code) or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
