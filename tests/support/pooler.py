"""A pooler in transaction mode, as PgBouncer is one: each transaction of a client is served by the next session.

It speaks as much of Postgres' protocol as that takes. A session is given back at the end of a transaction, in its turn
behind all others, and emptied by DISCARD ALL: what a client relies on beyond a transaction is lost, always.
"""

import asyncio
from collections import Counter
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.servers.postgres import PostgresServer

_SSL_REQUEST, _GSS_REQUEST, _CANCEL = 80877103, 80877104, 80877102
_HEAD = 5
_IDLE = b"I"
_DISCARD = b"DISCARD ALL\0"
_FORBIDDEN = (b"LISTEN", b"SET ", b"PREPARE", b"DECLARE")


class Message(NamedTuple):
    """One message of the protocol."""

    kind: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.kind + (len(self.body) + 4).to_bytes(4) + self.body


async def receive(reader: asyncio.StreamReader) -> Message:
    """The next message; IncompleteReadError at the end."""
    head = await reader.readexactly(_HEAD)
    return Message(head[:1], await reader.readexactly(int.from_bytes(head[1:]) - 4))


class _Session:
    """A session of the server's."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.greeting = b""

    async def greeted(self, startup: bytes) -> Self:
        """Log in; what the server says to that is kept for clients."""
        self.writer.write(startup)
        message = None
        while message is None or message.kind != b"Z":
            message = await receive(self.reader)
            self.greeting += message.raw
        return self

    async def emptied(self) -> Self:
        """Let it forget all that a client has left in it."""
        self.writer.write(Message(b"Q", _DISCARD).raw)
        while (await receive(self.reader)).kind != b"Z":
            pass
        return self


class Pooler:
    """Listens on a port of loopback and shares a few sessions of the server among its clients."""

    def __init__(self, server: PostgresServer, sessions: int = 3) -> None:
        self.port = 0
        self.served: Counter[int] = Counter()
        """Transactions, by session."""
        self.moved = 0
        """How often a client's transaction was served by another session than the one before."""
        self.named = 0
        """Prepared statements with a name, which outlive their transaction."""
        self.lasting: list[bytes] = []
        """Statements that change a session for longer than a transaction."""
        self._server = server
        self._size = sessions
        self._made = 0
        self._free: asyncio.Queue[_Session] = asyncio.Queue()
        self._sessions: list[_Session] = []
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in self._sessions:
            session.writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            startup = await self._startup(reader, writer)
            if startup is not None:
                writer.write(await self._greeting(startup))
                await self._transactions(startup, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _startup(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """What the client logs in with; it is offered no encryption, and a request to cancel is not served."""
        while True:
            size = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(size) - 4)
            code = int.from_bytes(body[:4])
            if code == _CANCEL:
                return None
            if code not in (_SSL_REQUEST, _GSS_REQUEST):
                return size + body
            writer.write(b"N")

    async def _greeting(self, startup: bytes) -> bytes:
        """What the server said to the first who logged in; the sessions are made for that one."""
        async with self._opening:
            while len(self._sessions) < self._size:
                await self._open(startup)
        return self._sessions[0].greeting

    async def _open(self, startup: bytes) -> None:
        self._made += 1
        session = _Session(self._made, *await asyncio.open_connection("127.0.0.1", self._server.port))
        self._sessions.append(session)
        await session.greeted(startup)
        self._free.put_nowait(session)

    async def _transactions(self, startup: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        before = None
        with _Client(self, reader, writer) as client:
            while (await client.waiting()).kind != b"X":
                session = await self._free.get()
                try:
                    await client.transaction(session)
                except (OSError, asyncio.IncompleteReadError):
                    session.writer.transport.abort()  # the client has left in the middle: it is of no use
                    self._sessions.remove(session)
                    await self._open(startup)
                    raise
                self.served[session.number] += 1
                self.moved += before not in (None, session.number)
                before = session.number
                self._free.put_nowait(await session.emptied())

    def note(self, message: Message) -> None:
        """Remember what a client must not do here."""
        if message.kind == b"P":
            name, _, rest = message.body.partition(b"\0")
            self.named += bool(name)
            text = rest
        elif message.kind == b"Q":
            text = message.body
        else:
            return
        if text.lstrip().upper().startswith(_FORBIDDEN):
            self.lasting.append(text[:80])


class _Client:
    """One client, for which a message is read ahead: between two transactions it is what begins the next one."""

    def __init__(self, pooler: Pooler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pooler = pooler
        self._reader = reader
        self._writer = writer
        self._asking = asyncio.ensure_future(receive(reader))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._asking.cancel() and not self._asking.cancelled():
            self._asking.exception()  # that it has left is known

    async def waiting(self) -> Message:
        """What it asks for, once it does."""
        return await self._asking

    async def transaction(self, session: _Session) -> None:
        """Carry messages both ways until the session is in no transaction, and nothing is left to be answered."""
        unanswered = 0
        answering = asyncio.ensure_future(receive(session.reader))
        try:
            while True:
                await asyncio.wait({self._asking, answering}, return_when=asyncio.FIRST_COMPLETED)
                if self._asking.done():
                    unanswered += self._ask(session, self._asking.result())
                    self._asking = asyncio.ensure_future(receive(self._reader))
                if answering.done():
                    answer = answering.result()
                    self._writer.write(answer.raw)
                    unanswered -= answer.kind == b"Z"
                    if answer == Message(b"Z", _IDLE) and not unanswered:
                        return
                    answering = asyncio.ensure_future(receive(session.reader))
        finally:
            answering.cancel()

    def _ask(self, session: _Session, message: Message) -> bool:
        """Whether the server will say that it is ready again once this is done."""
        if message.kind == b"X":
            raise ConnectionResetError("the client has left")
        self._pooler.note(message)
        session.writer.write(message.raw)
        return message.kind in (b"Q", b"S")
