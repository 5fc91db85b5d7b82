"""Runs what the documents show, as a reader would: the blocks of one page in their order, in one folder.

The rules, which tests/docs enforces:

- `python` runs as a script of its own; with `title="name.py"` it is kept under that name, for those that come after.
- `sh` runs line by line; one that begins with `docket` needs no shell, unless it uses one. A `docket worker` that does
  not end by itself runs beside the rest of the page, as in a second terminal. `pip install` is not run: the extras that
  it names must exist.
- `text` with `title="output"` is all that the block before it has printed; a line `…` stands for any lines.
- A block with `title="not run here: why"` is not run, and the reader sees why.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support import programs
from tests.support.command import environment
from tests.support.programs import Program

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NOT_RUN = "not run here: "
OUTPUT = "output"
_FENCE = re.compile(r'^( *)```(\w*)(?: title="([^"]*)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
_FIRST_WORDS = ("docket ", "python ", "export ", "sqlite3 ")
_FOR_A_SHELL = re.compile(r"[|&;<>$`*?~]")
_INSTALLS = ("pip install ", "python3 -m venv ")


class Block(NamedTuple):
    """A block of code of a page."""

    line: int
    language: str
    title: str
    text: str


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of code of a page, in their order."""
    text = page.read_text()
    for found in _FENCE.finditer(text):
        indent, language, title, code = found.groups()
        line = text.count("\n", 0, found.start()) + 1
        yield Block(line, language, title or "", re.sub(rf"^{indent}", "", code, flags=re.MULTILINE))


def is_run(block: Block) -> bool:
    return block.language in {"python", "sh"} and not block.title.startswith(NOT_RUN)


class Reader:
    """Somebody who follows one page, in an empty folder.

    Args:
        folder: where.
        printing: a folder for what programs print.
        servers: for the address of each server that pages name, what gives a real one's.
    """

    def __init__(self, folder: Path, printing: Path, servers: dict[str, Callable[[], str]]) -> None:
        self._folder = folder
        self._printing = printing
        self._servers = servers
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = environment({"PATH": path})
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a reader's Python does not compile all at each start
        self._beside: list[Program] = []
        self._printed = ""
        self._files = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._beside:
            program.kill()

    def follow(self, block: Block) -> None:
        """Do what a block says, or compare what it shows."""
        if block.language == "text" and block.title == OUTPUT:
            assert matches(block.text, self._printed), f"line {block.line}: printed was\n{self._printed}"
        elif is_run(block) and block.language == "python":
            self._printed = self._script(block)
        elif is_run(block):
            self._printed = "".join(self._line(line, block) for line in lines_of(block.text))

    def _script(self, block: Block) -> str:
        name = block.title if block.title.endswith(".py") else f"line_{block.line}.py"
        file = self._folder / name
        file.write_text(self._real(block.text))
        return self._ended_well(programs.script(file, self._environment, self._new_file()), block)

    def _line(self, line: str, block: Block) -> str:
        if line.startswith(_INSTALLS):
            check_extras(line)
            return ""
        assert line.startswith(_FIRST_WORDS), f"line {block.line}: nobody here knows how to run {line!r}"
        line = self._real(line)
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self._environment[name] = shlex.split(value)[0]
            return ""
        if not line.startswith("docket ") or _FOR_A_SHELL.search(line):
            return self._shell(line, block)
        program = programs.docket(shlex.split(line)[1:], self._folder, self._environment, self._new_file())
        if line.startswith("docket worker") and "--until-finished" not in line:
            self._beside.append(program)
            return ""
        return self._ended_well(program, block)

    def _shell(self, line: str, block: Block) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}: {line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _ended_well(self, program: Program, block: Block) -> str:
        try:
            return program.ended_well()
        except AssertionError as error:
            raise AssertionError(f"line {block.line}: {error}") from error

    def _new_file(self) -> Path:
        return self._printing / f"{next(self._files)}.printed"

    def _real(self, text: str) -> str:
        for address, real in self._servers.items():
            if address in text:
                text = text.replace(address, real())
        return text


def lines_of(text: str) -> Iterator[str]:
    """The commands of a block for a shell, without comments and continuations."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)# .*$", "", line).strip()
        if command:
            yield command


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed; a line `…` is any lines, and spaces at the ends of lines do not count."""
    pattern = "\n".join(
        r"(?:.*\n?)*?" if line.strip() == "…" else re.escape(line.rstrip()).replace("…", ".*")
        for line in shown.strip().splitlines()
    )
    text = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, text) is not None


def check_extras(line: str) -> None:
    """What a page tells to install is there to be installed."""
    extras = PYPROJECT["project"]["optional-dependencies"]
    for group in re.findall(r"(?:docket-core|\.)\[([\w,]+)\]", line):
        assert set(group.split(",")) <= set(extras), line
