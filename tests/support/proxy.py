"""A way to a server that a test can cut, hold up, slow down, close and listen to."""

import asyncio
import re
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
        self.deafness: Deafness | None = None
        """Once it listens."""

    def close(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()

    async def ask(self, data: bytes) -> None:
        """From the client to the server."""
        proxy = self._proxy
        if self.count is not None:
            proxy.asked += self.count(data)
        if self.deafness is None and b"SUBSCRIBE" in data:
            self.deafness = RedisDeafness()
        elif self.deafness is None and b"LISTEN" in data:
            self.deafness = PostgresDeafness()
        if proxy.answering is not None and self.count is not None:
            self.client.write(proxy.answering * self.count(data))
            return
        self.server.write(data)

    async def answer(self, data: bytes) -> None:
        """From the server to the client."""
        proxy = self._proxy
        if proxy.losing and self.deafness is None:
            proxy.losing -= 1
            self.close()
            return
        if proxy.deaf and self.deafness is not None:
            data = self.deafness(data)
        self.client.write(data)
        await self.client.drain()


class Deafness(Protocol):
    """Takes notifications, and nothing else, out of what a server sends; the beginning of one waits for its rest."""

    def __call__(self, data: bytes) -> bytes: ...


class RedisDeafness:
    """For a connection that has subscribed: a confirmation may come in one piece with a message."""

    _MESSAGE = re.compile(rb"[*>]3\r\n\$7\r\nmessage\r\n\$(\d+)\r\n")
    _LENGTH = re.compile(rb"\$(\d+)\r\n")
    _CUT = re.compile(rb"[*>]3\r\n\$7\r\nmessage\r\n\$\d*\r?\Z")
    _BEGINNINGS = tuple(kind + b"3\r\n$7\r\nmessage\r\n$"[:length] for kind in (b"*", b">") for length in range(18))

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes) -> bytes:
        data, self._rest = self._rest + data, b""
        kept = b""
        while (message := self._MESSAGE.search(data)) is not None:
            end = message.end() + int(message[1]) + 2
            length = self._LENGTH.match(data, end)
            if length is None or len(data) < length.end() + int(length[1]) + 2:
                self._rest = data[message.start() :]
                return kept + data[: message.start()]
            kept += data[: message.start()]
            data = data[length.end() + int(length[1]) + 2 :]
        cut = self._CUT.search(data)
        begun = max((len(part) for part in self._BEGINNINGS if data.endswith(part)), default=0)
        held = begun if cut is None else len(cut[0])
        self._rest = data[len(data) - held :]
        return kept + data[: len(data) - held]


class PostgresDeafness:
    """For a connection that listens: what is left out is each NotificationResponse."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes) -> bytes:
        data, kept = self._rest + data, b""
        while len(data) >= 5 and len(data) > (length := int.from_bytes(data[1:5], "big")):
            if data[:1] != b"A":
                kept += data[: 1 + length]
            data = data[1 + length :]
        self._rest = data
        return kept


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
