"""The demo's task, and the files it is done for."""

import hashlib
import os
import sysconfig
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from docket_core.annotations import Logged
from docket_core.errors import ConfigurationError
from docket_core.functions import AnyFunction

FEWEST = 20
"""With fewer files there is no middle in which to strike and to kill."""
SKIPPED = frozenset({"__pycache__", "site-packages", "dist-packages", ".git"})
BLOCK = 1 << 20


class FileSum(NamedTuple):
    """What there is to know of a file."""

    sha256: str
    size: int
    lines: int


def sum_of(path: str) -> FileSum:
    """Read a file; its checksum, bytes and lines."""
    digest = hashlib.sha256()
    size = lines = 0
    with Path(path).open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
            lines += block.count(b"\n")
    return FileSum(digest.hexdigest(), size, lines)


def checksum(path: Annotated[str, Logged()], kind: Annotated[str, Logged()], pace: float = 0.0) -> FileSum:
    """The task: checksum and count one file, taking `pace` seconds at least.

    `kind` is there to be struck by.
    """
    until = time.monotonic() + pace
    found = sum_of(path)
    rest = until - time.monotonic() if pace else 0.0
    if rest > 0:
        time.sleep(rest)
    return found


tasks: list[AnyFunction] = [checksum]


class File(NamedTuple):
    """One file to do."""

    key: str
    path: str
    kind: str


class Plan(NamedTuple):
    """Which files, and which kind of them is struck."""

    folder: Path
    files: Sequence[File]
    struck_kind: str

    @property
    def strikable(self) -> list[str]:
        """The keys of the files of the struck kind."""
        return [file.key for file in self.files if file.kind == self.struck_kind]


def plan_for(folder: Path | None) -> Plan:
    """The readable files below `folder` (None: the running Python's standard library), their kinds well mixed.

    The kind to be struck is the second most frequent one, or the only one.

    Raises:
        ConfigurationError: there is no such folder, or there are too few files.
    """
    top = (folder if folder is not None else Path(sysconfig.get_path("stdlib"))).resolve()
    if not top.is_dir():
        raise ConfigurationError(f"{top} is no folder; give one with --folder")
    paths = _paths(top)
    if len(paths) < FEWEST:
        raise ConfigurationError(f"{top} has {len(paths)} readable files; the demo needs {FEWEST} at least")
    kinds = [path.suffix.lower() or "(no suffix)" for path in paths]
    frequent = [kind for kind, _ in Counter(kinds).most_common(2)]
    mixed = sorted(zip(paths, kinds, strict=True), key=lambda item: hashlib.sha256(os.fsencode(item[0])).digest())
    files = [File(f"file-{number:05}", str(path), kind) for number, (path, kind) in enumerate(mixed, 1)]
    return Plan(top, files, frequent[-1])


def _paths(top: Path) -> list[Path]:
    found: list[Path] = []
    for folder, below, names in os.walk(top):
        below[:] = [name for name in below if name not in SKIPPED]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                found.append(path)
    return found
