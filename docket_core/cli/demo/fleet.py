"""The demo's worker processes: started, stopped for a moment, killed, and ended in good order."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from docket_core.cli.demo.files import tasks as demo_tasks

TASKS = f"{demo_tasks[0].__module__}:tasks"
ENDING = 10.0
"""How long workers may take to end after SIGTERM, in seconds."""
TAIL = 20
"""How many lines of a worker's log are shown when something went wrong."""


class Settings(NamedTuple):
    """What all workers of the fleet have in common."""

    docket: str
    url: str
    concurrency: int
    redelivery_timeout: float


class Process:
    """One worker process."""

    def __init__(self, name: str, settings: Settings, log: Path) -> None:
        self.name = name
        self.log = log
        self.killed = False
        arguments = [
            *("--tasks", TASKS, "--docket", settings.docket, "--name", name),
            *("--concurrency", str(settings.concurrency)),
            *("--redelivery-timeout", f"{settings.redelivery_timeout}s"),
            *("--no-schedule-automatic-tasks", "--logging-level", "warning", "--logging-format", "plain"),
        ]
        own = {name: value for name, value in os.environ.items() if not name.startswith("DOCKET_")}
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python, and arguments made above
                [sys.executable, "-m", "docket_core", "worker", *arguments],
                env=own | {"DOCKET_URL": settings.url},  # not an argument: every user of the machine sees those
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the demo only, which then ends its workers
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it lives."""
        return self._process.poll()

    def pause(self) -> None:
        """Stop the process where it is, so that what it holds can be looked at; returns once it stands still."""
        if hasattr(signal, "SIGSTOP"):
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        if hasattr(signal, "SIGCONT"):
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it with SIGKILL: it can say nothing and finish nothing."""
        self.killed = True
        self._process.kill()
        self._process.wait()

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        if self.exit_code is None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for its end, and kill it if that takes too long."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        """The end of its log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL:])
        return ""


class Fleet:
    """All worker processes of one demo. Use it as a context manager: none outlives it."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self.settings = settings
        self.processes: list[Process] = []
        self._logs = logs

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> Process:
        """Start one more worker."""
        name = f"worker-{len(self.processes) + 1}"
        process = Process(name, self.settings, self._logs / f"{name}.log")
        self.processes.append(process)
        return process

    @property
    def dead(self) -> list[Process]:
        """Those that have ended although nobody asked them to."""
        return [process for process in self.processes if not process.killed and process.exit_code is not None]

    def end(self) -> bool:
        """End them with SIGTERM; whether all ended in good order."""
        for process in self.processes:
            process.ask_to_end()
        deadline = time.monotonic() + ENDING
        for process in self.processes:
            process.wait(deadline - time.monotonic())
        return all(process.killed or process.exit_code == 0 for process in self.processes)
