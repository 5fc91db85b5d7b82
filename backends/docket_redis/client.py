"""The calls of one docket: one connection for all of them, opened anew when it was lost."""

import asyncio
import re
from collections.abc import Callable, Sequence

from docket_core.backend.clock import Clock, Micros
from docket_core.errors import BackendUnavailable
from docket_redis.address import Address, Node, Topology
from docket_redis.connection import Argument, Connection, Reply, ServerError, connect, pack, translated
from docket_redis.locate import locator
from docket_redis.lua import Script, script

_PING = pack("PING")
_AWAY = re.compile(r"\b(READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|MOVED|ASK|TRYAGAIN)\b")
"""Codes, also within a script's error, of a server that is not, or not now, the one to ask."""


class Client:
    """Runs scripts on the server that the docket is on."""

    def __init__(self, address: Address, prefix: str, clock: Clock | None, retention: Micros) -> None:
        self.address = address
        self.prefix = prefix
        self._clock = clock
        self._retention = retention
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._locator = locator(address, prefix)
        self._node: Node | None = None
        self.moved: Callable[[Node], None] | None = None
        """Called when the docket was found on another server than before."""
        self._closed = False

    async def open(self, push: Callable[[Reply], None] | None = None) -> tuple[Node, Connection]:
        """A new connection to the server that the docket is on now.

        Raises:
            BackendUnavailable: it cannot be found or reached, or takes no writes.
        """
        node = await self._locator.node()
        connection = await connect(self.address, node, push, db=self.address.db)
        if self.address.topology is Topology.SENTINEL and push is None:
            await _check_role(connection, node)
        return node, connection

    async def run(self, name: str, *arguments: Argument, told_first: bool = False) -> Reply:
        """Run one script; its own arguments follow the time and the retention.

        Args:
            told_first: whether those that the script publishes to are to be sent that before this gets its reply. A
                server writes to its clients in the reverse order of their first reply in a turn of its event loop, and
                here a ping's comes before.

        Raises:
            BackendUnavailable: the server cannot be reached, or not now. What was sent may have been done.
            Overloaded: the server takes no more; nothing was written.
        """
        called, connection = script(name), self._connection
        if connection is None or not connection.usable:
            connection = await self._connected()
        data = self._packed(called, arguments)
        reply = await (connection.send(_PING + data, 2)[1] if told_first else connection.send_one(data))
        if isinstance(reply, ServerError):
            reply = await self._again(connection, called, arguments, reply)
            if isinstance(reply, ServerError):
                raise translated(reply) from reply
        return reply

    async def run_all(self, name: str, portions: Sequence[Sequence[Argument]]) -> list[Reply]:
        """Run one script once for each portion, in order, all sent at once; the first error is raised."""
        for reply in (replies := await self.run_each(name, portions)):
            if isinstance(reply, ServerError):
                raise translated(reply) from reply
        return replies

    async def run_each(self, name: str, portions: Sequence[Sequence[Argument]]) -> list[Reply]:
        """As `run_all`, with the server's errors among the replies."""
        called = script(name)
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._connected()
        futures = connection.send(b"".join(self._packed(called, one) for one in portions), len(portions))
        replies: list[Reply] = [await future for future in futures]
        for position, reply in enumerate(replies):
            if isinstance(reply, ServerError):
                replies[position] = await self._again(connection, called, portions[position], reply)
        return replies

    async def call(self, *command: Argument) -> Reply:
        """One command of the server's own.

        Raises:
            BackendUnavailable, Overloaded: as for `run`.
        """
        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._connected()
        try:
            return await connection.call(*command)
        except ServerError as error:
            raise translated(error) from error

    def reopen(self) -> None:
        """Take calls again after a `close`."""
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()

    def _packed(self, called: Script, arguments: Sequence[Argument], *, text: bool = False) -> bytes:
        now = self._clock.now() if self._clock is not None else ""
        how: tuple[Argument, Argument] = ("EVAL", called.text) if text else ("EVALSHA", called.digest)
        return pack(*how, 1, self.prefix, now, self._retention, *arguments)

    async def _again(
        self, connection: Connection, called: Script, arguments: Sequence[Argument], error: ServerError
    ) -> Reply:
        """The reply on a second try, where a second try makes sense: the server had forgotten the script."""
        if error.code == "NOSCRIPT":
            return await connection.send_one(self._packed(called, arguments, text=True))
        if error.code == "MOVED":  # nothing was done: the slot is on another node
            connection.close()
            connection = await self._connected()
            return await connection.send_one(self._packed(called, arguments, text=True))
        if _AWAY.search(str(error)) is not None:
            connection.close()  # the next call looks for the server anew
        return error

    async def _connected(self) -> Connection:
        """The connection; callers that find none share one attempt, which none of them can cancel."""
        if self._closed:
            raise BackendUnavailable("this backend is closed")
        if self._connection is not None and self._connection.usable:
            return self._connection
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="docket-redis-connect")
            self._connecting.add_done_callback(self._connect_done)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Connection:
        node, connection = await self.open()
        self._connection = connection
        if self._node not in {None, node} and self.moved is not None:
            self.moved(node)
        self._node = node
        return connection

    def _connect_done(self, task: asyncio.Task[Connection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()


async def _check_role(connection: Connection, node: Node) -> None:
    """Refuse a server that sentinels still call the master, and that is none any more."""
    try:
        role = await connection.call("ROLE")
    except ServerError as error:  # an account may not be allowed to ask
        if error.code == "NOPERM":
            return
        connection.close()
        raise translated(error) from error
    if role[0] != b"master":
        connection.close()
        raise BackendUnavailable(f"the Redis server at {node} is a replica now")
