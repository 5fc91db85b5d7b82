"""The two threads of an instance: one that writes, one that reads."""

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from docket_core.backend.clock import Clock
from docket_core.backend.hookspecs import Opening
from docket_core.errors import BackendUnavailable
from docket_sqlite.connection import File
from docket_sqlite.lane import Lane, Outcome, resolve
from docket_sqlite.news import News
from docket_sqlite.readers import Reader
from docket_sqlite.transaction import Executor, Transaction
from docket_sqlite.writer import Writer

_Result = TypeVar("_Result")

PATIENCE_AT_END = 0.5
"""Seconds for which a closing instance still waits for a lock."""


class Desk:
    """Takes work to the thread that does it."""

    def __init__(self, opening: Opening, file: File, clock: Clock, hear: Callable[[News], None]) -> None:
        self._file = file
        self._hear = hear
        self._news: deque[News] = deque()
        """Left by the writing thread for the event loop."""
        self._writer = Writer(file, opening.name, clock, opening.retention, opening.max_payload, self._news.append)
        self._writes: Lane[Transaction] | None = None
        self._reads: Lane[Executor] | None = None
        self._closed = False

    @property
    def docket(self) -> int:
        """The docket's number in the file."""
        return self._writer.docket

    @property
    def port(self) -> int:
        """Where this instance listens; 0: nowhere."""
        return self._writer.port

    @port.setter
    def port(self, port: int) -> None:
        self._writer.port = port

    async def open(self) -> None:
        """Open the file, and make docket's tables in it unless they are there.

        Raises:
            DocketError: it says what stands against it.
        """
        self._closed, self._reads = False, None
        self._writes = Lane("docket-sqlite-writer", self._writer.run, self._writer.close, self._deliver)
        try:
            await self.write(_nothing)
        except BaseException:
            await self.close()
            raise

    def hurry(self) -> None:
        """From now on wait for locks only a little: the instance is about to close."""
        self._writer.patience = min(self._writer.patience, PATIENCE_AT_END)

    async def close(self) -> None:
        """Finish what was begun, end the threads, close the files."""
        self.hurry()
        self._closed = True
        for lane in (self._reads, self._writes):  # who closes last copies the log into the file: the writer
            if lane is not None:
                await lane.close()

    async def write(self, work: Callable[[Transaction], _Result], *, synced: bool = True) -> _Result:
        """Run `work` in a write transaction; answers after its commit.

        Not `synced`: it may be lost with the machine. That is right for what only says who works on what just now,
        since then all who worked are lost as well; and whatever is synced later takes with it all that was before.
        """
        if self._writes is None:
            raise BackendUnavailable("this backend is not open")
        return await self._writes.submit(work, synced=synced)

    async def read(self, work: Callable[[Executor], _Result]) -> _Result:
        """Run `work`, which writes nothing, on a snapshot."""
        if self._writes is None:
            raise BackendUnavailable("this backend is not open")
        if self._reads is None:
            if self._closed:
                raise BackendUnavailable("this backend is closed")
            reader = Reader(self._file)
            self._reads = Lane("docket-sqlite-reader", reader.run, reader.close, resolve)
        return await self._reads.submit(work)

    def _deliver(self, outcomes: list[Outcome]) -> None:
        """The news of these commits first, then their answers: one call into the event loop for both."""
        while self._news:
            self._hear(self._news.popleft())
        resolve(outcomes)


def _nothing(_: Transaction) -> None:
    """What opening does in its first transaction, which finds out whether the file can be written."""
