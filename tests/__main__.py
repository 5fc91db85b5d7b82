"""Everything that is checked, in one command: `python -m tests [--no-lint] [options and paths for pytest]`.

Pytest, and static checks: the quick ones before it, the others beside it; they are silent unless they fail. Without
options of its own pytest runs everything, in five processes, and measures branch coverage. Its summary is the last
line; the exit code is 0 only if all went well.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = ["--cov", "--cov-report=term", "--numprocesses=5"]
"""Most tests wait more than they compute, so five processes serve two cores well."""


class Check(NamedTuple):
    name: str
    arguments: list[str]


FIRST = [
    Check("lint-imports", ["-c", "from importlinter.cli import lint_imports_command as run; run()"]),
    Check("ruff check", ["-m", "ruff", "check", "."]),
    Check("ruff format", ["-m", "ruff", "format", "--check", "."]),
]
COLLECTION = Check("collection", ["-m", "pytest", "--collect-only", "-qq"])
"""Before all tests: what their processes import is compiled once, not by each of them at the same time."""
BESIDE = [  # they take a minute each
    Check("basedpyright", ["-m", "basedpyright", "--warnings"]),
    Check("mypy", ["-m", "mypy"]),
]
LEAST = 19
"""The lowest priority: what runs beside the tests takes what they leave."""


class Checking:
    """A check that has been started."""

    def __init__(self, check: Check, priority: int | None = None) -> None:
        self.name = check.name
        self._output = TemporaryFile("w+", errors="replace")  # noqa: SIM115  # passed() closes it
        self._process = subprocess.Popen(
            [sys.executable, *check.arguments], cwd=ROOT, stdout=self._output, stderr=subprocess.STDOUT
        )
        if priority is not None and hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, priority)

    def passed(self, say: Callable[[str], None]) -> bool:
        """Wait for it, and say how it went: a line on success, its whole output otherwise."""
        with self._output:
            code = self._process.wait()
            say(f"{self.name:<14}{'FAILED' if code else 'ok'}")
            if code:
                self._output.seek(0)
                say(self._output.read())
        return not code


class ChecksBeside:
    """Says at the end of pytest's output what became of all checks."""

    def __init__(self, failed: list[str], beside: list[Checking]) -> None:
        self.failed = failed
        self._beside = beside

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.failed and not self._beside:
            return
        terminalreporter.section("static checks")
        self.failed += [one.name for one in self._beside if not one.passed(terminalreporter.line)]
        if self.failed:
            terminalreporter.line(f"failed: {', '.join(self.failed)}", red=True)


def main(arguments: list[str]) -> int:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # processes are started by the hundred: let them compile once
    options = [argument for argument in arguments if argument != "--no-lint"]
    lint = "--no-lint" not in arguments
    first = [Checking(check) for check in [*(FIRST if lint else []), *([] if options else [COLLECTION])]]
    failed = [one.name for one in first if not one.passed(lambda text: print(text, flush=True))]
    beside = [Checking(check, LEAST) for check in BESIDE] if lint else []
    code = pytest.main([f"--rootdir={ROOT}", *(options or EVERYTHING)], plugins=[ChecksBeside(failed, beside)])
    return int(code) or int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
