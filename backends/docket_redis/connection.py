"""One connection to a server: any number of calls in flight, answered in order; and what its errors mean."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from docket_core.errors import BackendError, BackendUnavailable, Overloaded
from docket_redis.address import Address, Login, Node

Argument = str | bytes | int
Reply = Any
"""What the server answered: bytes, an int, None, a list of replies, or a `ServerError` that was not raised."""


class ServerError(Exception):
    """The server's answer was an error; the text begins with its code."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


_FULL = re.compile(r"\b(OOM|MISCONF)\b")


def translated(error: ServerError) -> BackendError:
    """The error of docket-core that says what the server's says; inside a script its code stands within the text."""
    found = _FULL.search(str(error))
    if found is None:
        return BackendUnavailable(f"the Redis server does not take this now: {error}")
    if found[1] == "OOM":
        return Overloaded(f"the Redis server's memory is full (maxmemory): {error}")
    return Overloaded(f"the Redis server refuses writes, because it cannot save them: {error}")


def pack(*command: Argument) -> bytes:
    """A command as it is sent."""
    try:
        return hiredis.pack_command(command)  # type: ignore[arg-type, no-any-return]
    except UnicodeEncodeError:  # a lone surrogate: as bytes that no text has, so that nothing is found under it
        plain = (part.encode(errors="surrogatepass") if isinstance(part, str) else part for part in command)
        return hiredis.pack_command(tuple(plain))  # type: ignore[arg-type, no-any-return]


_BUFFER = 256 * 1024
"""Bytes that one read takes at most."""


class Connection(asyncio.BufferedProtocol):
    """A connected socket. Calls are written at once; whoever gave up on one does not disturb the others."""

    def __init__(self, timeout: float, push: Callable[[Reply], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._push = push
        """Where replies go that nobody asked for: those of a connection that subscribes."""
        self._reader = hiredis.Reader(replyError=ServerError)
        self._buffer = bytearray(_BUFFER)
        """Read into again and again: a plain protocol is given new bytes, as large as this, at each read."""
        self._pending: deque[asyncio.Future[Reply]] = deque()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._heard = self._loop.time()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        """Done once the connection is closed, whoever closed it."""

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes, replies: int = 1) -> Sequence[asyncio.Future[Reply]]:
        """Write commands, packed, and answer a future for each of their replies.

        Raises:
            BackendUnavailable: the connection is closed.
        """
        if self._transport is None or self._transport.is_closing():
            raise BackendUnavailable("the connection to the Redis server is closed")
        futures = [self._loop.create_future() for _ in range(replies)]
        if replies and not self._pending:
            self._begin_to_wait()
        self._pending.extend(futures)
        self._transport.write(data)
        return futures

    def send_one(self, data: bytes) -> asyncio.Future[Reply]:
        """Write one command, packed, and answer a future for its reply.

        Raises:
            BackendUnavailable: the connection is closed.
        """
        if self._transport is None or self._transport.is_closing():
            raise BackendUnavailable("the connection to the Redis server is closed")
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self._pending:
            self._begin_to_wait()
        self._pending.append(future)
        self._transport.write(data)
        return future

    def _begin_to_wait(self) -> None:
        """The server owes an answer from now on."""
        self._heard = self._loop.time()
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look)

    async def call(self, *command: Argument) -> Reply:
        """One command and its reply.

        Raises:
            ServerError: the reply is an error.
            BackendUnavailable: the connection was lost, or there was no answer in time.
        """
        reply = await self.send_one(pack(*command))
        if isinstance(reply, ServerError):
            raise reply
        return reply

    def close(self, reason: str | None = None) -> None:
        """Close at once; what is in flight fails."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(BackendUnavailable(reason or "the connection to the Redis server was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = self._loop.time()
        # takes any bytes-like object, though its stub does not say so
        self._reader.feed(self._buffer, 0, nbytes)  # type: ignore[arg-type]
        try:
            while (reply := self._reader.gets()) is not False:
                if self._push is not None and not self._pending:
                    self._push(reply)
                elif self._pending:
                    future = self._pending.popleft()
                    if not future.done():
                        future.set_result(reply)
                elif isinstance(reply, ServerError):  # said before it hangs up, such as: too many clients
                    self.close(str(reply))
        except hiredis.ProtocolError as error:
            self.close(f"what answered is no Redis server: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        detail = f": {exc}" if exc is not None else ""
        self._fail(BackendUnavailable(f"the connection to the Redis server was lost{detail}"))

    def _fail(self, error: BackendUnavailable) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        pending, self._pending = self._pending, deque()
        for future in pending:
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever gave up on it does not ask any more
        if not self.lost.done():
            self.lost.set_result(None)

    def _look(self) -> None:
        """Give the server up if it owes answers and has said nothing for too long."""
        self._watch = None
        if not self._pending:
            return
        left = self._heard + self._timeout - self._loop.time()
        if left <= 0:
            self.close(f"the Redis server has not answered for {self._timeout:g} seconds")
        else:
            self._watch = self._loop.call_later(left, self._look)


async def connect(
    address: Address,
    node: Node,
    push: Callable[[Reply], None] | None = None,
    *,
    login: Login | None = None,
    db: int = 0,
) -> Connection:
    """A connection to `node`, logged in with the address's account or another, on database `db`.

    Raises:
        BackendUnavailable: it cannot be reached, or refuses.
    """
    loop = asyncio.get_running_loop()

    def make() -> Connection:
        return Connection(address.timeout, push)

    try:
        async with asyncio.timeout(address.timeout):
            if node.path is not None:
                _, connection = await loop.create_unix_connection(make, node.path)
            else:
                _, connection = await loop.create_connection(make, node.host, node.port, ssl=address.tls)
    except TimeoutError as error:
        raise BackendUnavailable(f"the Redis server at {node} cannot be reached: no answer in time") from error
    except OSError as error:
        raise BackendUnavailable(f"the Redis server at {node} cannot be reached: {error}") from error
    try:
        await _log_in(connection, login or address.login, db)
    except ServerError as error:
        connection.close()
        raise BackendUnavailable(f"the Redis server at {node} refuses: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


async def _log_in(connection: Connection, login: Login, db: int) -> None:
    if login.password is not None:
        user = (login.username,) if login.username else ()
        await connection.call("AUTH", *user, login.password)
    if db:
        await connection.call("SELECT", db)
