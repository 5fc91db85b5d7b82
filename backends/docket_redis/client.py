"""The calls of one docket: one connection for all of them, opened anew when it was lost."""

import asyncio
from collections.abc import Sequence

from docket_core.backend.clock import Clock, Micros
from docket_core.errors import BackendUnavailable
from docket_redis.address import Address, Node
from docket_redis.connection import Argument, Connection, Reply, ServerError, connect, pack, translated
from docket_redis.lua import Script, script


class Client:
    """Runs scripts on the server that the docket is on."""

    def __init__(self, address: Address, prefix: str, clock: Clock | None, retention: Micros) -> None:
        self.address = address
        self.prefix = prefix
        self._clock = clock
        self._retention = retention
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._closed = False

    async def node(self) -> Node:
        """Where the docket is now."""
        return self.address.nodes[0]

    async def run(self, name: str, *arguments: Argument) -> Reply:
        """Run one script; its own arguments follow the time and the retention.

        Raises:
            BackendUnavailable: the server cannot be reached, or not now. What was sent may have been done.
            Overloaded: the server takes no more; nothing was written.
        """
        return (await self.run_all(name, [arguments]))[0]

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
            return await connection.send(self._packed(called, arguments, text=True))[0]
        if error.code in {"READONLY", "LOADING", "MASTERDOWN"} or "READONLY" in str(error):
            connection.close()  # the next call looks for the server anew
        return error

    async def _connected(self) -> Connection:
        """The connection; callers that find none share one attempt, which none of them can cancel."""
        if self._closed:
            raise BackendUnavailable("this backend is closed")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="docket-redis-connect")
            self._connecting.add_done_callback(self._connect_done)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Connection:
        connection = await connect(self.address, await self.node())
        self._connection = connection
        return connection

    def _connect_done(self, task: asyncio.Task[Connection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()
