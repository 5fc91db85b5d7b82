"""A few connections of the driver, opened as they are needed, with every error translated."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, TypeAlias, TypeVar, cast

import asyncpg

from docket_core.backend.kit import translated
from docket_core.errors import BackendUnavailable
from docket_postgres.errors import AGAIN, UNPREPARED, is_connection_lost, sqlstate_of, translate
from docket_postgres.settings import Settings

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Row: TypeAlias = Sequence[Any]
Result = TypeVar("Result")

_TRIES = 8
_CONNECT_TIMEOUT = 10.0
_LEAVING = 0.5
"""Seconds that an opening which nobody wants any more may take."""


class _Taught(asyncpg.Connection):
    """A connection that knows the built-in types which another one has asked about.

    Before its first parameter of a type such as `bytea[]` the driver asks the server what that is: three round trips
    and some ten milliseconds of the server's time, on each connection anew. Built-in types are the same everywhere:
    their OIDs are below 10,000, see "OID Assignment" in PostgreSQL's manual.
    """

    __slots__ = ()

    async def _introspect_types(self, typeoids: Iterable[int], timeout: float | None) -> tuple[Sequence[Row], object]:
        asked = frozenset(typeoids)
        if asked in _TYPES:
            return _TYPES[asked], _UNASKED
        driver: Any = super()
        rows, statement = await driver._introspect_types(typeoids, timeout)
        if max(asked) < _BUILT_IN:
            _TYPES[asked] = rows
        return rows, statement


_BUILT_IN = 10_000
_TYPES: dict[frozenset[int], Sequence[Row]] = {}
_UNASKED = SimpleNamespace(name="unasked")
"""Stands for the statement that asks: of it the driver reads only whether it displaced the unnamed one."""


async def connect(dsn: str, settings: Settings, application: str) -> Connection:
    """A new connection.

    Who is cancelled meanwhile lets it be opened first, and closes it then: the driver leaves an exception that nobody
    retrieves where its opening is cut short.
    """
    opening = asyncio.ensure_future(
        asyncpg.connect(
            dsn,
            connection_class=_Taught,
            timeout=min(_CONNECT_TIMEOUT, settings.timeout),
            statement_cache_size=100 if settings.prepared else 0,
            server_settings={"application_name": application},
        )
    )
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening], timeout=_LEAVING)
        if not opening.done():
            opening.cancel()
        elif opening.exception() is None:
            opening.result().terminate()
        raise


async def _pooled(connection: Connection, sql: str, arguments: Sequence[object]) -> Sequence[Row]:
    async with connection.transaction():  # a pooler keeps one session for us for a transaction and no longer
        return cast("Sequence[Row]", await connection.fetch(sql, *arguments))


class Connections:
    """At most `size` connections; what was used last is used next, so idle ones stay idle.

    The driver's own pool sends a second statement at each release, and SQLAlchemy's costs three times the statement:
    here a statement is one round trip.
    """

    def __init__(self, settings: Settings, size: int) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._used: dict[Connection, float] = {}
        """And until when each may take, by the loop's clock."""
        self._overdue: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        """One for all: to set and to cancel one at each statement costs as much as the rest of it here."""
        self._closed = False

    def fetch(self, sql: str, arguments: Sequence[object], patience: float = 1.0) -> Coroutine[Any, Any, Sequence[Row]]:
        """The rows of one statement, which is one transaction; `patience` times the timeout is waited for them.

        Raises:
            BackendUnavailable, Overloaded, SchemaMismatch: see `errors.translate`.
        """

        def fetched(connection: Connection) -> Awaitable[Sequence[Row]]:
            rows = connection.fetch(sql, *arguments) if self._settings.prepared else _pooled(connection, sql, arguments)
            return cast("Awaitable[Sequence[Row]]", rows)

        return self.run(fetched, self._settings.timeout * patience)

    async def run(self, work: Callable[[Connection], Awaitable[Result]], timeout: float = math.inf) -> Result:
        """What `work` answers, which is given a connection, and may be given another one to do all of it again.

        Deadlocks and serialization failures are retried, and a statement that a pooler has forgotten. A connection on
        which it takes longer than `timeout` seconds is cut off.

        Raises:
            BackendUnavailable, Overloaded, SchemaMismatch: see `errors.translate`.
        """
        with translated(translate):
            await self._slots.acquire()
            try:
                for left in range(_TRIES, -1, -1):
                    try:
                        return await self._once(work, timeout)
                    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                        state = sqlstate_of(error)
                        if not left or state not in AGAIN | UNPREPARED:
                            raise
                        if state in UNPREPARED:  # of many that are under way, each learns it for itself
                            self._settings = self._settings._replace(prepared=False)
                            self.discard()
                        await asyncio.sleep(0.01 * random.random() * (_TRIES - left + 1))
            finally:
                self._slots.release()
        raise AssertionError("the loop above returns or raises")

    async def _once(self, work: Callable[[Connection], Awaitable[Result]], timeout: float) -> Result:
        prepared = self._settings.prepared
        connection = self._take() or await connect(self._settings.dsn, self._settings, "docket")
        deadline = asyncio.get_running_loop().time() + timeout
        self._used[connection] = deadline
        self._look_at(deadline)
        try:
            result = await work(connection)
        except BaseException as error:
            if connection in self._overdue and isinstance(error, Exception):
                self.discard()
                raise TimeoutError(f"no answer within {timeout:g} s") from None
            if is_connection_lost(error):
                connection.terminate()
                self.discard()
            else:
                self._give_back(connection, prepared)
            raise
        else:
            self._give_back(connection, prepared)
            return result
        finally:
            del self._used[connection]
            self._overdue.discard(connection)

    def _look_at(self, moment: float) -> None:
        """Be there at this moment, to see what is overdue."""
        if moment == math.inf or (self._timer is not None and self._timer.when() <= moment):
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(moment, loop.call_soon, self._look)  # after those whose answer has come meanwhile

    def _look(self) -> None:
        """Cut off what is overdue; its server does not answer."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection, deadline in self._used.items():
            if deadline <= now:
                self._overdue.add(connection)
                connection.terminate()
            else:
                self._look_at(deadline)

    def _give_back(self, connection: Connection, prepared: bool) -> None:
        """Keep it for the next, unless it has prepared statements that nobody may use any more, or all is closed."""
        if prepared == self._settings.prepared and not self._closed:
            self._idle.append(connection)
        else:
            connection.terminate()

    def _take(self) -> "Connection | None":
        if self._closed:
            raise BackendUnavailable("this backend has been closed")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def discard(self) -> None:
        """Drop what lies idle: one connection broke, so the others are likely to be broken."""
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
        """Close what lies idle; what is still used is cut off, as its server does not answer."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in self._used:
            connection.terminate()
        idle, self._idle = self._idle, []
        for connection in idle:
            try:
                await connection.close(timeout=1)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()
