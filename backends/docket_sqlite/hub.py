"""Where news arrives: those who wait for work, for events and for strikes are told, by datagram or by looking.

News comes from this instance's own commits, from the datagrams of others, and, for what neither told, from a look
at the file: every 250 ms, while anybody waits, `PRAGMA data_version` says whether there is anything to look for.
"""

import asyncio
import socket
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

from docket_core.backend.clock import Clock, Micros
from docket_core.backend.kit import wait_for_event
from docket_core.backend.records import Record
from docket_core.errors import DocketError
from docket_sqlite import listeners, readers
from docket_sqlite.claiming import next_moment
from docket_sqlite.desk import Desk
from docket_sqlite.news import News, Wanted
from docket_sqlite.strikes import StrikeReader
from docket_sqlite.subscription import Subscription
from docket_sqlite.transaction import Executor

TICK = 0.25
MOST_LOOKED_AT = 1000
"""Keys of subscriptions that one look reads; the others have their turn at the next."""
MOST_FUNCTIONS = 4096
RECEIVE_BUFFER = 4 << 20


class _Waiter:
    __slots__ = ("event", "functions", "until")

    def __init__(self, functions: AbstractSet[str] | None, until: Micros | None) -> None:
        self.event = asyncio.Event()
        self.functions = functions
        self.until = until


class Hub(asyncio.DatagramProtocol):
    """The news desk of one instance, on its event loop."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._waiters: set[_Waiter] = set()
        self._subscriptions: set[Subscription] = set()
        self._strike_readers: set[StrikeReader] = set()
        self._pushed: dict[str, int] = {}
        self._floor = 0
        """Pushes up to this number are not told apart by function any more."""
        self._transport: asyncio.DatagramTransport | None = None
        self._secret = listeners.new_secret()
        self._opening: asyncio.Task[None] | None = None
        self._announced_at = -inf
        self._version: int | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._turn = 0
        self._closed = False

    # --- those who want to know -------------------------------------------------------------------

    async def listen(self) -> None:
        """Have others send their news here from now on; only the first call does anything."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        with suppress(OSError):  # no loopback: what others write is found by looking
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: self, local_addr=("127.0.0.1", 0)
            )
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._desk.port = sock.getsockname()[1]
        try:
            await self._announce()
        except DocketError:
            self._opening = None
            if self._transport is not None:
                self._transport.close()
                self._transport = None
            raise

    async def _announce(self) -> None:
        """Write, or renew, that this instance listens; once this is committed every later change is told."""
        wanted = self._wanted()
        port, secret = self._desk.port, self._secret
        await self._desk.write(lambda tx: listeners.announce(tx, port, secret, wanted), synced=False)
        self._announced_at = asyncio.get_running_loop().time()

    def _wanted(self) -> Wanted:
        if any(subscription.wants_events for subscription in self._subscriptions):
            return Wanted.EVENTS
        return Wanted.ORDERS if self._subscriptions or self._strike_readers else Wanted.WORK

    async def wait(self, functions: AbstractSet[str] | None, since: int, until: Micros | None) -> None:
        """Sleep until there may be something to claim."""
        await self.listen()
        if self._closed or self._pushed_since(functions, since):
            return
        waiter = _Waiter(functions, until)
        self._waiters.add(waiter)
        self._tick()
        try:
            await wait_for_event(waiter.event, self._clock, until)
        finally:
            self._waiters.discard(waiter)

    def _pushed_since(self, functions: AbstractSet[str] | None, since: int) -> bool:
        if self._floor > since:
            return True
        if functions is None:
            return any(number > since for number in self._pushed.values())
        return any(self._pushed.get(function, 0) > since for function in functions)

    async def subscribe(self, subscription: Subscription) -> None:
        """Tell this subscription of everything that is committed once this has returned."""
        await self.listen()
        self._subscriptions.add(subscription)
        try:
            await self._announce()
            if subscription.keys:
                await self.look_silently(subscription, list(subscription.keys))
        except BaseException:
            self._subscriptions.discard(subscription)
            raise
        self._tick()

    async def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        subscription.close()
        await self._events_unwanted()

    async def look_silently(self, subscription: Subscription, keys: Sequence[str]) -> None:
        """Learn what is known of these keys now, so that only what comes later is told."""
        number, records = await self._records(keys)
        for key, record in zip(keys, records, strict=True):
            subscription.see(key, number, record, silently=True)

    async def follow_strikes(self, reader: StrikeReader) -> None:
        """Tell this reader of the rules in force, then of every change; a store that is away is waited for."""
        self._strike_readers.add(reader)
        try:
            await self.listen()
            await self._announce()
            await self._read_strikes()
        except DocketError:
            self._version = None  # the next look is for this reader, though nothing else has changed
        self._tick()

    async def unfollow_strikes(self, reader: StrikeReader) -> None:
        self._strike_readers.discard(reader)
        reader.close()
        await self._events_unwanted()

    async def _events_unwanted(self) -> None:
        if self._wanted() is Wanted.WORK and not self._closed:  # else the next renewal says it
            with suppress(DocketError):
                await self._announce()

    async def close(self) -> None:
        """Let go everyone who waits, and stop listening."""
        self._closed = True
        for waiter in self._waiters:
            waiter.event.set()
        for subscription in self._subscriptions:
            subscription.close()
        for reader in self._strike_readers:
            reader.close()
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        if self._opening is not None:
            with suppress(DocketError, asyncio.CancelledError):
                await self._opening
        if self._transport is not None:
            self._transport.abort()
            port = self._desk.port
            with suppress(DocketError):
                await self._desk.write(lambda tx: listeners.leave(tx, port), synced=False)

    # --- news -------------------------------------------------------------------------------------

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        news = listeners.read(data, self._secret)
        if news is not None:
            self.hear(news)

    def error_received(self, exc: Exception) -> None:
        """An answer to a datagram that came to nobody: those ports are forgotten in time."""

    def hear(self, news: News) -> None:
        """Pass news on to whom it concerns."""
        for function, (number, at) in news.work.items():
            self._pushed[function] = max(number, self._pushed.get(function, 0))
            for waiter in self._waiters:
                if (waiter.functions is None or function in waiter.functions) and (
                    waiter.until is None or at < waiter.until
                ):
                    waiter.event.set()
        if len(self._pushed) > MOST_FUNCTIONS:
            self._floor = max(self._pushed.values())
            self._pushed.clear()
        if self._subscriptions:
            for number, event in news.events:
                for subscription in self._subscriptions:
                    if type(event) in subscription.kinds:
                        subscription.hear(number, event)
        complete = [reader.hear(strike) for strike in news.strikes for reader in self._strike_readers]
        if news.lost or not all(complete):
            self._version = None
        if news.lost:
            self._announced_at = -inf  # it may be another file by now

    # --- looking ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self._ticking is None and not self._closed:
            self._ticking = asyncio.create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        """Look whether the file has changed, as long as anybody wants to know."""
        loop = asyncio.get_running_loop()
        idle = 0
        while idle < 2 / TICK:
            await asyncio.sleep(TICK)
            idle = 0 if self._waiters or self._subscriptions or self._strike_readers else idle + 1
            with suppress(DocketError):  # the store is away: look again
                version = await self._desk.read(_data_version)
                if version != self._version:
                    self._version = version
                    await self._look()
                if self._opening is not None and loop.time() - self._announced_at > listeners.RENEWAL:
                    await self._announce()
        self._ticking = None

    async def _look(self) -> None:
        for waiter in list(self._waiters):
            moment = await self._desk.read(partial(next_moment, docket=self._desk.docket, functions=waiter.functions))
            if moment is not None and (waiter.until is None or moment < waiter.until):
                waiter.event.set()
        if self._strike_readers:
            await self._read_strikes()
        for subscription in list(self._subscriptions):
            keys = self._some_of(subscription)
            if keys:
                number, records = await self._records(keys)
                for key, record in zip(keys, records, strict=True):
                    subscription.see(key, number, record)

    def _some_of(self, subscription: Subscription) -> list[str]:
        keys = sorted(subscription.keys or ())
        if len(keys) > MOST_LOOKED_AT:
            start = self._turn % len(keys)
            self._turn += MOST_LOOKED_AT
            keys = (keys + keys)[start : start + MOST_LOOKED_AT]
            self._version = None  # the others have their turn at the next look
        return keys

    async def _read_strikes(self) -> None:
        asking = list(self._strike_readers)  # who comes meanwhile must not be told of what was before
        number, rules = await self._desk.read(lambda executor: readers.rules(executor, self._desk.docket))
        for reader in asking:
            reader.see(number, rules)

    async def _records(self, keys: Sequence[str]) -> tuple[int, list[Record | None]]:
        return await self._desk.read(
            lambda executor: (
                readers.sequence(executor, self._desk.docket),
                readers.get(executor, self._desk.docket, keys, self._clock.now()),
            )
        )


def _data_version(executor: Executor) -> int:
    version: int = executor.execute("PRAGMA data_version")[0][0]
    return version
