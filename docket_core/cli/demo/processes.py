"""Workers as processes of their own, where the store is one that processes share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from docket_core.cli.demo.files import tasks as demo_tasks
from docket_core.cli.demo.fleet import Settings

TASKS = f"{demo_tasks[0].__module__}:tasks"


class Process:
    """One worker process; see `Member`."""

    how_killed = "SIGKILL for"
    how_ended = "sent SIGTERM"

    def __init__(self, name: str, settings: Settings, logs: Path) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self.killed = False
        arguments = [
            *("--tasks", TASKS, "--docket", settings.docket, "--name", name),
            *("--concurrency", str(settings.concurrency)),
            *("--redelivery-timeout", f"{settings.redelivery_timeout}s"),
            *("--no-schedule-automatic-tasks", "--logging-level", "warning", "--logging-format", "plain"),
        ]
        own = {name: value for name, value in os.environ.items() if not name.startswith("DOCKET_")}
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - this very Python, and arguments made above
                [sys.executable, "-m", "docket_core", "worker", *arguments],
                env=own | {"DOCKET_URL": settings.url},  # not an argument: every user of the machine sees those
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the demo only, which then ends its workers
            )

    @property
    def place(self) -> str:
        return f"process {self._process.pid}"

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def pause(self) -> None:
        if hasattr(signal, "SIGSTOP"):
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        if hasattr(signal, "SIGCONT"):
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.killed = True
        self._process.kill()
        self._process.wait()

    def ask_to_end(self) -> None:
        if self.exit_code is None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
