"""Scripts and commands as a reader runs them, each in a child of the nursery: what they import has been imported."""

import os
import runpy
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from docket_core.cli import main
from tests.support.nursery import Child, usual_mother


class Program:
    """One that has been started, in a folder and with an environment of its own."""

    def __init__(self, child: Child, printed: Path) -> None:
        self._child = child
        self._printed = printed

    def ended_well(self, seconds: float = 60) -> str:
        """What it printed, once it has ended.

        Raises:
            AssertionError: it failed, or has not ended.
        """
        try:
            code = self._child.wait(seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.errors()}") from error
        assert code == 0, f"exit code {code}\n{self._printed.read_text()}\n{self.errors()}"
        return self._printed.read_text()

    def errors(self) -> str:
        return _errors_of(self._printed).read_text()

    def kill(self) -> None:
        self._child.kill()
        self._child.ended.wait(10)


def script(file: Path, environment: Mapping[str, str], printed: Path) -> Program:
    """`python -W error file`, in the file's folder."""
    return _begin("run_script", file.name, file.parent, environment, printed)


def docket(arguments: list[str], folder: Path, environment: Mapping[str, str], printed: Path) -> Program:
    """`docket …`, in a folder."""
    return _begin("run_docket", arguments, folder, environment, printed)


def run_script(name: str, folder: str, environment: dict[str, str], printed: str) -> None:
    """What a child does for a script."""
    _settle(folder, environment, printed)
    sys.argv = [name]
    sys.path[0] = folder
    warnings.simplefilter("error")
    runpy.run_path(name, run_name="__main__")


def run_docket(arguments: list[str], folder: str, environment: dict[str, str], printed: str) -> None:
    """What a child does for a command."""
    _settle(folder, environment, printed)
    sys.path[0] = str(Path(sys.executable).parent)
    sys.argv = [f"{sys.path[0]}/docket", *arguments]
    main()


def _begin(
    function: str, what: str | list[str], folder: Path, environment: Mapping[str, str], printed: Path
) -> Program:
    arguments = (what, str(folder), dict(environment), str(printed))
    return Program(usual_mother().bear(f"{__name__}:{function}", arguments, _errors_of(printed)), printed)


def _settle(folder: str, environment: dict[str, str], printed: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)


def _errors_of(printed: Path) -> Path:
    return printed.with_suffix(".errors")
