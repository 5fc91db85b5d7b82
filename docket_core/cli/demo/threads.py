"""Workers as threads, each with a loop and a docket of its own, where the store lives in one process.

A thread cannot be killed. What is done to it instead leaves the store with the same: its loop stands still, and nothing
of it reaches the store any more, renewals of its leases and verdicts included.
"""

import asyncio
import logging
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from docket_core.backend.observed import ObservedBackend
from docket_core.backend.protocol import Backend
from docket_core.backend.watch import TELEMETRY, Watch, Watcher
from docket_core.cli.demo.files import checksum
from docket_core.cli.demo.fleet import ENDING, Settings
from docket_core.docket import Docket
from docket_core.errors import BackendUnavailable
from docket_core.worker import Worker

logger = logging.getLogger("docket_core.demo")


class Line(Watcher):
    """The way of one worker to the store, which can be cut."""

    def __init__(self, docket: str) -> None:
        super().__init__(docket, TELEMETRY, instrumented=False)
        self.is_cut = False

    def __call__(self, operation: str, size: int | None = None) -> Watch:
        if self.is_cut and operation != "close":
            raise BackendUnavailable("this worker was killed")
        return super().__call__(operation, size)


class DocketOnLine(Docket):
    """A docket all of whose users reach the store over one line."""

    def __init__(self, name: str, url: str, line: Line) -> None:
        super().__init__(name, url)
        self._line = line

    def open_backend(self) -> Backend:
        return ObservedBackend(super().open_backend(), watcher=self._line)


class Thread:
    """One worker thread; see `Member`."""

    how_killed = "the end of"
    how_ended = "told to stop"

    def __init__(self, name: str, settings: Settings, logs: Path) -> None:
        self.name = name
        self.log = logs / "workers.log"
        self.killed = False
        self.exit_code: int | None = None
        self._line = Line(settings.docket)
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._worker: Worker | None = None
        self._standing = threading.Event()
        self._going = threading.Event()
        self._going.set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        return "a thread"

    def pause(self) -> None:
        self._standing.clear()
        self._going.clear()
        with suppress(RuntimeError):  # its loop has ended, and stands still for ever
            self._loop.call_soon_threadsafe(self._stand_still)
            self._standing.wait(ENDING)

    def resume(self) -> None:
        self._going.set()

    def kill(self) -> None:
        self.killed = self._line.is_cut = True
        if self._going.is_set():
            self.pause()

    def ask_to_end(self) -> None:
        self.resume()
        with suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._stop)

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _stand_still(self) -> None:
        self._standing.set()
        self._going.wait()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            if self.killed:
                self._worker.stop()  # once more: it leaves at once

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._work())
        except Exception:
            logger.exception("%s has failed", self.name)
            self.exit_code = 1
        else:
            self.exit_code = 0

    async def _work(self) -> None:
        settings = self._settings
        async with DocketOnLine(settings.docket, settings.url, self._line) as docket:
            docket.register(checksum)
            self._worker = Worker(
                docket,
                self.name,
                settings.concurrency,
                timedelta(seconds=settings.redelivery_timeout),
                schedule_automatic_tasks=False,
            )
            async with self._worker as worker:
                await worker.run_forever()


class Log:
    """Sends what the threads have to say to a file instead of the screen, while it is entered."""

    def __init__(self, folder: Path) -> None:
        self._logger = logging.getLogger("docket_core")
        self._handler = logging.FileHandler(folder / "workers.log", delay=True)
        self._handler.setLevel(logging.WARNING)
        self._propagated = self._logger.propagate

    def __enter__(self) -> None:
        self._logger.addHandler(self._handler)
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.propagate = self._propagated
        self._logger.removeHandler(self._handler)
        self._handler.close()
