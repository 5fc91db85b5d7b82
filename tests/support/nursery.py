"""Processes in which workers and producers live, made quickly and killed for real.

`python -m tests.support.nursery` imports docket-core once and then forks a child for every line that it reads:
a function's place and its arguments as JSON. It answers with the child's id, and with its exit code once it ends.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


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


class Nursery:
    """Makes children; kills those that are left at the end."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._children: dict[int, Child] = {}
        self._born: Queue[Child] = Queue()
        with errors.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.nursery"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()

    def start(self, function: str, *args: Any) -> Child:
        """A new process that calls `function`, "module:name", with these arguments, which JSON must have."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([function, args]) + "\n")
        self._process.stdin.flush()
        return self._born.get(timeout=30)

    def errors(self) -> str:
        """What the children have written to their standard error."""
        return self._errors.read_text()

    def close(self) -> None:
        for child in list(self._children.values()):
            child.kill()
            child.resume()
        for child in list(self._children.values()):
            child.ended.wait(10)
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


@contextmanager
def nursery(folder: Path) -> Generator[Nursery, None, None]:
    """A nursery whose children write their errors into a file of this folder."""
    made = Nursery(folder / "children.log")
    try:
        yield made
    finally:
        made.close()


def _say(pid: int, status: int | None) -> None:
    os.write(1, (json.dumps([pid, status]) + "\n").encode())


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _say(pid, os.waitstatus_to_exitcode(status))


def _live(function: str, args: list[Any]) -> None:
    """The whole life of a child."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        module, _, name = function.partition(":")
        answer = getattr(importlib.import_module(module), name)(*args)
        status = answer if isinstance(answer, int) else 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    importlib.import_module("tests.support.fleet")
    signal.signal(signal.SIGCHLD, _reap)
    for line in sys.stdin:
        function, args = json.loads(line)
        with_child = {signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, with_child)  # its birth is told before its end
        pid = os.fork()
        if not pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, with_child)
            _live(function, args)
        _say(pid, None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, with_child)


if __name__ == "__main__":
    main()
