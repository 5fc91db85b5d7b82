"""What the store tells by NOTIFY, on a connection of its own: hints that save polling, and nothing more."""

import asyncio
import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, cast

import asyncpg

from docket_core.backend.clock import SECOND, Clock, Micros
from docket_core.backend.kit import backoff, wait_for_event
from docket_postgres.connections import connect
from docket_postgres.settings import Settings

Listener = Callable[[str | None], None]
"""Called with a notification's payload, or with None after a gap in which any may have been lost."""

_MANY = 10_000
"""Beyond so many functions' news in mind, all waiters are simply woken."""
_PING_EVERY = 15.0
_LISTEN_FOR_ADDS = "select set_config('lock_timeout', '100ms', true), pg_advisory_lock_shared($1)"


class Hints:
    """Listens while anybody wants to know, and comes back by itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._of_adds = {settings.channel, settings.channel + "e"}
        """Where adds are told of."""
        self._listeners: dict[str, set[Listener]] = {}
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.connected = asyncio.Event()

    def add(self, channel: str, listener: Listener) -> None:
        """Call `listener` for each notification, and with None once it is in force."""
        self._listeners.setdefault(channel, set()).add(listener)
        if not self._settings.notify:
            return
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="docket postgres hints")
        else:
            self.connected.clear()
            self._changed.set()

    async def listen(self, channel: str, listener: Listener) -> None:
        """As `add`; returns once it is in force, or shortly, if the store is away."""
        self.add(channel, listener)
        if not self._settings.notify:
            return
        try:
            async with asyncio.timeout(2):
                await self.connected.wait()
        except TimeoutError:
            return

    def forget(self, channel: str, listener: Listener) -> None:
        """Call `listener` no more."""
        listeners = self._listeners.get(channel, set())
        listeners.discard(listener)
        if not listeners and self._listeners.pop(channel, None) is not None:
            self._changed.set()

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._session()
                failures = 0
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                failures = 0 if self.connected.is_set() else failures + 1
            finally:
                self.connected.clear()
                if self._connection is not None:
                    self._connection.terminate()
                    self._connection = None
            await asyncio.sleep(backoff(failures + 1, SECOND // 20, 2 * SECOND) / SECOND)

    async def _session(self) -> None:
        """One connection's life."""
        connection = self._connection = await connect(self._settings.listen_dsn, self._settings, "docket listen")
        connection.add_termination_listener(lambda _: self._changed.set())
        listening: set[str] = set()
        present = False
        while not connection.is_closed():
            self._changed.clear()
            wanted = set(self._listeners)  # what is added while these are sent comes in the next round
            for channel in listening - wanted:
                await connection.remove_listener(channel, self._heard)
            fresh = wanted - listening
            for channel in fresh:
                await connection.add_listener(channel, self._heard)
            listening = wanted
            if wanted.isdisjoint(self._of_adds):
                if present:
                    await connection.fetchval("select pg_advisory_unlock_shared($1)", self._settings.ear, timeout=5)
                present = False
            elif not present:
                present = await self._is_let_in(connection)
                if present:
                    fresh |= wanted & self._of_adds
                else:
                    self._changed.set()
            for channel in fresh:
                self._tell(channel, None)
            if not self._changed.is_set():
                self.connected.set()
                try:
                    async with asyncio.timeout(_PING_EVERY):
                        await self._changed.wait()
                except TimeoutError:
                    await connection.fetchval("select 1", timeout=5)

    async def _is_let_in(self, connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
        """Make it known that somebody listens for adds, once those have committed that take it that nobody does.

        False if one of them takes long: until it has ended this waits in turns, in which others see that it waits, as
        nothing is heard meanwhile.
        """
        try:
            await connection.fetchval(_LISTEN_FOR_ADDS, self._settings.ear, timeout=5)
        except asyncpg.LockNotAvailableError:
            return False
        return True

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._tell(channel, str(payload))

    def _tell(self, channel: str, payload: str | None) -> None:
        for listener in list(self._listeners.get(channel, ())):
            listener(payload)


class Seen(NamedTuple):
    """What a claim knew."""

    mark: int
    """How much had been heard."""
    at: Micros
    """When it was sent, by the clock: what becomes due later than two seconds after is not always told of."""


class News:
    """Which functions have got something to claim, and who waits for it."""

    def __init__(self) -> None:
        self._count = 0
        self._everything = 0
        self._functions: dict[str, tuple[int, Micros]] = {}
        self._waiters: set[tuple[asyncio.Event, frozenset[str] | None, Micros | None]] = set()

    @property
    def mark(self) -> int:
        """How much was heard so far."""
        return self._count

    def heard(self, payload: str | None) -> None:
        """Take in a notification: when there is something to claim, by function."""
        self._count += 1
        work = cast("dict[str, Any]", json.loads(payload)) if payload else {}
        if not work or len(self._functions) > _MANY:
            self._everything = self._count
            self._functions.clear()
        for function, at in work.items():
            self._functions[function] = (self._count, int(at))
        for waiter in self._waiters:
            if self.concerns(*waiter[1:], since=self._count - 1):
                waiter[0].set()

    def concerns(self, functions: AbstractSet[str] | None, until: Micros | None, since: int) -> bool:
        """Whether there is news since `since` that is worth a claim before `until`."""
        if self._everything > since:
            return True
        asked = self._functions if functions is None else functions & self._functions.keys()
        for function in asked:
            number, at = self._functions[function]
            if number > since and (until is None or at < until):
                return True
        return False

    async def wait(
        self, functions: AbstractSet[str] | None, since: Seen, until: Micros | None, clock: Clock, offset: Micros
    ) -> None:
        """Sleep until there is news since `since`, or the store's time, `offset` ahead of the clock's, is `until`."""
        if self.concerns(functions, until, since.mark):
            return
        event = asyncio.Event()
        waiter = (event, None if functions is None else frozenset(functions), until)
        self._waiters.add(waiter)
        try:
            await wait_for_event(event, clock, None if until is None else until - offset, since.at)
        finally:
            self._waiters.discard(waiter)
