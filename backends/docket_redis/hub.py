"""The one connection on which a backend listens: who wants which channel, and coming back after a loss."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol, cast

from docket_core.backend.clock import SECOND
from docket_core.backend.kit import backoff
from docket_core.errors import BackendUnavailable
from docket_redis.address import Node
from docket_redis.client import Client
from docket_redis.connection import Connection, Reply, ServerError, pack

logger = logging.getLogger(__name__)

_PING_EVERY = 15.0
"""Seconds; a connection on which a ping has not been answered by the next one is given up."""
_TOLD = {b"message", b"subscribe"}


class Listener(Protocol):
    """Whoever is told of messages. Neither method may block or raise."""

    def heard(self, channel: str, data: bytes) -> None:
        """A message has come on a channel that this listener wants."""
        ...

    def restored(self) -> None:
        """The connection was lost and is back: messages may have been missed."""
        ...


class Hub:
    """Opens its connection with the first listener, and keeps it as long as there is one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._wanted: dict[str, list[Listener]] = {}
        self._confirmed: set[str] = set()
        self._waiting: set[asyncio.Event] = set()
        self._connection: Connection | None = None
        self._runner: asyncio.Task[None] | None = None
        self._node: Node | None = None
        self._is_silent = False
        """Whether nothing has been heard since the last ping."""
        self._is_served = False
        """Whether the server has answered on this connection, and not only to refuse it."""
        client.moved = self._moved

    def add(self, listener: Listener, channels: Iterable[str]) -> None:
        """Let `listener` hear of these channels, from when they are confirmed."""
        fresh: list[str] = []
        for channel in channels:
            listeners = self._wanted.setdefault(channel, [])
            if not listeners:
                fresh.append(channel)
            if listener not in listeners:
                listeners.append(listener)
        self._send("SUBSCRIBE", fresh)
        if self._wanted and self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="docket-redis-hub")

    def remove(self, listener: Listener, channels: Iterable[str]) -> None:
        """Let it hear of these channels no more."""
        stale: list[str] = []
        for channel in channels:
            listeners = self._wanted.get(channel, [])
            if listener in listeners:
                listeners.remove(listener)
                if not listeners:
                    del self._wanted[channel]
                    self._confirmed.discard(channel)
                    stale.append(channel)
        self._send("UNSUBSCRIBE", stale)

    async def confirmed(self, channels: Iterable[str], timeout: float | None = None) -> None:
        """Return once the server has confirmed all these channels.

        Raises:
            BackendUnavailable: it has not done so within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._confirmed_all(channels)
        except TimeoutError as error:
            raise BackendUnavailable("the Redis server cannot be reached: no subscription in time") from error

    async def _confirmed_all(self, channels: Iterable[str]) -> None:
        missing = set(channels)
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            while not missing <= self._confirmed:
                changed.clear()
                await changed.wait()
        finally:
            self._waiting.discard(changed)

    async def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)

    def _moved(self, node: Node) -> None:
        """Scripts tell events only if somebody listens on their own server: follow them."""
        if self._connection is not None and self._node != node:
            self._connection.close()

    def _send(self, command: str, channels: list[str]) -> None:
        if channels and self._connection is not None and self._connection.usable:
            self._connection.send(pack(command, *(self._client.prefix + channel for channel in channels)), 0)

    async def _run(self) -> None:
        attempt, before = 0, False
        while True:
            self._is_served = False
            try:
                self._node, connection = await self._client.open(self._push)
                try:
                    await self._listen(connection, again=before)
                finally:
                    self._connection = None
                    self._confirmed.clear()
                    connection.close()
                before = True
            except BackendUnavailable:
                pass
            # a server that takes connections and closes them at once, such as one with too many clients, is away too
            attempt = 1 if self._is_served else attempt + 1
            await asyncio.sleep(backoff(attempt, SECOND // 20, SECOND) / SECOND)

    async def _listen(self, connection: Connection, *, again: bool) -> None:
        """Serve the listeners until the connection is lost."""
        self._connection = connection
        channels = list(self._wanted)
        self._send("SUBSCRIBE", channels)
        self._is_silent = False
        if again:
            told = asyncio.create_task(self._tell_restored(channels))
            connection.lost.add_done_callback(lambda _: told.cancel())
        while not connection.lost.done():
            await asyncio.wait([connection.lost], timeout=_PING_EVERY)
            if connection.lost.done():
                return
            if self._is_silent:
                return
            self._is_silent = True
            connection.send(pack("PING"), 0)

    async def _tell_restored(self, channels: list[str]) -> None:
        await self.confirmed(channel for channel in channels if channel in self._wanted)
        for listener in {id(one): one for listeners in self._wanted.values() for one in listeners}.values():
            listener.restored()

    def _push(self, reply: Reply) -> None:
        self._is_silent = False
        if isinstance(reply, ServerError):
            logger.warning("the Redis server does not let this docket listen: %s", reply)
        if not isinstance(reply, list):
            return
        self._is_served = True
        told = cast("list[bytes]", reply)
        kind = told[0]
        if kind not in _TOLD:
            return
        channel = told[1].decode(errors="replace")[len(self._client.prefix) :]
        if kind == b"message":
            for listener in tuple(self._wanted.get(channel, ())):
                try:
                    listener.heard(channel, told[2])
                except (ValueError, LookupError):  # not one of ours: somebody else publishes there
                    logger.warning("a message on %s that nobody can read was left out", channel)
        elif kind == b"subscribe" and channel in self._wanted:
            self._confirmed.add(channel)
            for changed in self._waiting:
                changed.set()
