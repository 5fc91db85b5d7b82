"""The two threads of an instance: one that writes, one that reads."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from docket_core.backend.clock import Clock
from docket_core.backend.hookspecs import Opening
from docket_core.errors import BackendUnavailable
from docket_sqlite.connection import File
from docket_sqlite.lane import Lane
from docket_sqlite.news import News
from docket_sqlite.readers import Reader
from docket_sqlite.transaction import Executor, Transaction
from docket_sqlite.writer import Writer

_Result = TypeVar("_Result")


class Desk:
    """Takes work to the thread that does it."""

    def __init__(self, opening: Opening, file: File, clock: Clock, hear: Callable[[News], None]) -> None:
        self._file = file
        self._hear = hear
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer = Writer(file, opening.name, clock, opening.retention, opening.max_payload, self._tell)
        self._writes: Lane[Transaction] | None = None
        self._reads: Lane[Executor] | None = None

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
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._writer.open)
        self._writes = Lane("docket-sqlite-writer", self._writer.run, self._writer.close)

    async def close(self) -> None:
        for lane in (self._reads, self._writes):  # who closes last copies the log into the file: the writer
            if lane is not None:
                await lane.close()

    async def write(self, work: Callable[[Transaction], _Result]) -> _Result:
        """Run `work` in a write transaction; answers after its commit."""
        if self._writes is None:
            raise BackendUnavailable("this backend is not open")
        return await self._writes.submit(work)

    async def read(self, work: Callable[[Executor], _Result]) -> _Result:
        """Run `work`, which writes nothing, on a snapshot."""
        if self._writes is None:
            raise BackendUnavailable("this backend is not open")
        if self._reads is None:
            reader = Reader(self._file)
            self._reads = Lane("docket-sqlite-reader", reader.run, reader.close)
        return await self._reads.submit(work)

    def _tell(self, news: News) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hear, news)
