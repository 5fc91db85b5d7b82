"""A way to a server that a test can cut, hold up, slow down, close and listen to."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import hiredis


class Counter(Protocol):
    """Counts what a client asks for, from the bytes it sends on one connection."""

    def __call__(self, data: bytes) -> int: ...


class _Way:
    """One client's connection, and the one to the server that it leads to."""

    def __init__(self, proxy: "Proxy", client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self.client = client
        self.server = server
        self.count = proxy.counter() if proxy.counter is not None else None
        self.listens = False

    def close(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()

    async def ask(self, data: bytes) -> None:
        """From the client to the server."""
        proxy = self._proxy
        if self.count is not None:
            proxy.asked += self.count(data)
        self.listens = self.listens or any(word in data for word in _LISTENS)
        if proxy.answering is not None and self.count is not None:
            self.client.write(proxy.answering * self.count(data))
            return
        self.server.write(data)

    async def answer(self, data: bytes) -> None:
        """From the server to the client."""
        proxy = self._proxy
        if proxy.losing and not self.listens:
            proxy.losing -= 1
            self.close()
        elif not (proxy.deaf and self.listens and (_REDIS_MESSAGE in data or data.startswith(_POSTGRES_MESSAGE))):
            self.client.write(data)
            await self.client.drain()


_LISTENS = (b"SUBSCRIBE", b"LISTEN")
_REDIS_MESSAGE = b"\r\nmessage\r\n"
_POSTGRES_MESSAGE = b"A\0"
"""A NotificationResponse, and the first byte of its length."""


class Proxy:
    """Listens on a port of loopback and leads to another one, within the test's event loop.

    Args:
        target: the server's port.
        counter: makes what counts a connection's commands or statements.
    """

    def __init__(self, target: int, counter: Callable[[], Counter] | None = None) -> None:
        self.target = target
        self.counter = counter
        self.port = 0
        self.asked = 0
        """Commands or statements that clients have sent."""
        self.connections = 0
        """How many connections clients have made, refused ones included."""
        self.deaf = False
        """No notification comes through; that one listens is still confirmed."""
        self.losing = 0
        """How many answers are still to be lost: the server has done what was asked, and the connection is cut."""
        self.answering: bytes | None = None
        """What every command is answered, in place of the server."""
        self.delay = 0.0
        """Seconds by which everything is late, each way."""
        self._refusing = False
        self._open = asyncio.Event()
        self._open.set()
        self._ways: set[_Way] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection, as a reset does; new ones are led on."""
        for way in list(self._ways):
            way.close()

    def pause(self) -> None:
        """Let nothing through, either way; connections are taken and stay."""
        self._open.clear()

    def go_on(self) -> None:
        """Let everything through again, also what was held up."""
        self._open.set()

    def refuse(self) -> None:
        """Break every connection, and take no new one."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Take connections again."""
        self._refusing = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        if self._refusing or task is None:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await self._open.wait()
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            self._tasks.discard(task)
            return
        way = _Way(self, writer, server)
        self._ways.add(way)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, way, way.ask))
                group.create_task(self._pass_on(answers, way, way.answer))
        except asyncio.CancelledError:
            way.close()
        finally:
            self._ways.discard(way)
            self._tasks.discard(task)

    async def _pass_on(self, source: asyncio.StreamReader, way: _Way, forward: "Forward") -> None:
        try:
            while data := await source.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._open.wait()
                await forward(data)
        except OSError:
            pass
        finally:
            way.close()


class Forward(Protocol):
    """Takes what has come from one end, for the other."""

    async def __call__(self, data: bytes) -> None: ...


class RedisCommands:
    """Counts commands: each is an array of the protocol."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()

    def __call__(self, data: bytes) -> int:
        self._reader.feed(data)
        count = 0
        while self._reader.gets() is not False:
            count += 1
        return count


class PostgresStatements:
    """Counts statements that are executed: simple queries and executions of prepared ones."""

    def __init__(self) -> None:
        self._data = b""
        self._begun = False

    def __call__(self, data: bytes) -> int:
        self._data += data
        count = 0
        while True:
            head = 1 if self._begun else 0  # the first message has no letter
            if len(self._data) < head + 4:
                return count
            size = head + int.from_bytes(self._data[head : head + 4])
            if len(self._data) < size:
                return count
            count += self._begun and self._data[:1] in {b"Q", b"E"}
            self._begun = self._begun or self._data[4:8] != _SSL_REQUEST
            self._data = self._data[size:]


_SSL_REQUEST = (80877103).to_bytes(4)
