"""Processes of the tests' own, made quickly and killed for real.

`python -m tests.support.nursery module …`, the mother, imports these modules once and then forks a child for every line
that it reads: a function's place, its arguments as JSON, and a file for what it prints. It answers with the child's id,
and with its exit code once it ends.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
FLEET = "tests.support.fleet"
USUAL = (
    FLEET,
    "docket_core.cli.app",
    "docket_memory.backend",
    "docket_sqlite.backend",
    "docket_postgres.backend",
    "docket_redis.backend",
    "sqlalchemy.dialects.postgresql.asyncpg",
)
"""What takes most of the time before a child can begin."""


class Child:
    """A process of the test's own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended = threading.Event()
        self.status: int | None = None
        """Its exit code, or the number of the signal that ended it, negative."""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended does not mind."""
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.send(signal.SIGKILL)

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def wait(self, seconds: float = 30) -> int:
        """Its exit code, once it has ended."""
        if not self.ended.wait(seconds) or self.status is None:
            raise TimeoutError(f"process {self.pid} has not ended in {seconds} s")
        return self.status


class Mother:
    """Makes children, in each of which these modules have been imported."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._children: dict[int, Child] = {}
        self._born: Queue[Child] = Queue()
        self._one_at_a_time = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()

    def bear(self, function: str, args: tuple[Any, ...], printed: Path) -> Child:
        """A child that calls "module:name" with these arguments, and appends what it prints to a file."""
        assert self._process.stdin is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps([function, args, str(printed)]) + "\n")
            self._process.stdin.flush()
            return self._born.get(timeout=30)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pid, status = json.loads(line)
            if status is None:
                child = self._children[pid] = Child(pid)
                self._born.put(child)
            else:
                ended = self._children.pop(pid)
                ended.status = status
                ended.ended.set()


@cache
def usual_mother() -> Mother:
    """The one of all tests of this process, which ends with it."""
    mother = Mother(USUAL)
    atexit.register(mother.close)
    return mother


class Nursery:
    """The children of one test; those that are left at its end are killed."""

    def __init__(self, mother: Mother, errors: Path) -> None:
        self._mother = mother
        self._errors = errors
        self._children: list[Child] = []

    def start(self, function: str, *args: Any) -> Child:
        """A new process that calls `function`, "module:name", with these arguments, which JSON must have."""
        child = self._mother.bear(function, args, self._errors)
        self._children.append(child)
        return child

    def errors(self) -> str:
        """What the children have printed."""
        return self._errors.read_text()

    def close(self) -> None:
        for child in self._children:
            child.kill()
            child.resume()
        for child in self._children:
            child.ended.wait(10)


@contextmanager
def nursery(folder: Path) -> Generator[Nursery, None, None]:
    """A nursery whose children print into a file of this folder."""
    with closing(Nursery(usual_mother(), folder / "children.log")) as made:
        yield made


@contextmanager
def bare_nursery(folder: Path) -> Generator[Nursery, None, None]:
    """A nursery whose children have imported no backend before they begin."""
    with closing(Mother([FLEET])) as mother, closing(Nursery(mother, folder / "children.log")) as made:
        yield made


def _say(pid: int, status: int | None) -> None:
    os.write(1, (json.dumps([pid, status]) + "\n").encode())


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _say(pid, os.waitstatus_to_exitcode(status))


def _live(function: str, args: list[Any], printed: str) -> int:
    """What a child does; its exit code."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(printed, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 1)
    os.dup2(1, 2)
    try:
        module, _, name = function.partition(":")
        answer = getattr(importlib.import_module(module), name)(*args)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        return 1
    return answer if isinstance(answer, int) else 0


def main(modules: list[str]) -> None:
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        order = json.loads(line)
        with_child = {signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, with_child)  # its birth is told before its end
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, with_child)
            sys.exit(_live(*order))
        _say(pid, None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, with_child)


if __name__ == "__main__":
    main(sys.argv[1:])
