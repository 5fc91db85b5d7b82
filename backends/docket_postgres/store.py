"""What all operations of one backend share: how to reach the database, and what was asked for at its opening."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

from docket_core.backend.capabilities import Durability
from docket_core.backend.clock import Clock, Micros
from docket_core.errors import BackendUnavailable, SchemaMismatch
from docket_postgres.connections import Connection, Connections
from docket_postgres.errors import MISSING, sqlstate_of
from docket_postgres.migrations import is_current, upgrade
from docket_postgres.settings import Settings

Row = Sequence[Any]
Fetching = Coroutine[Any, Any, Sequence[Row]]
_PATIENCE = 6.0
IDENTITY_SQL = """
    select current_database()::text, (select d.oid::bigint from pg_database d where d.datname = current_database()),
      '"{schema}".task'::regclass::oid::bigint, (select v.identity from "{schema}".version v)
"""
"""What tells one store from another: its database, its tables, and what was drawn when they were made."""


class Store:
    """A database and a docket in it."""

    def __init__(self, settings: Settings, retention: Micros, max_payload: int, clock: Clock | None) -> None:
        self.settings = settings
        self.docket = settings.docket
        self.channel = settings.channel
        self.retention = max(0, min(retention, 1 << 61))
        self.max_payload = max_payload
        self.identity: Sequence[Any] = ()
        self._clock = clock
        self._work: Connections | None = None
        self._control: Connections | None = None
        self._mending = asyncio.Lock()

    def now(self) -> Micros | None:
        """The injected time; None where the database's decides."""
        return None if self._clock is None else self._clock.now()

    def sql(self, text: str) -> str:
        """`text` with the schema's name in place of `docket.`."""
        return text.replace("docket.", f'"{self.settings.schema}".')

    def open(self) -> None:
        """Get ready; no I/O."""
        self._work = Connections(self.settings, self.settings.pool)
        self._control = Connections(self.settings, 1)

    async def close(self) -> None:
        """Close the connections."""
        for connections in (self._work, self._control):
            if connections is not None:
                await connections.close()

    def fetch(self, sql: str, *arguments: object) -> Fetching:
        """The rows of a statement."""
        return self._fetch(self._work, sql, arguments)

    def fetch_slowly(self, sql: str, *arguments: object) -> Fetching:
        """As `fetch`, for a statement that reads much."""
        return self._fetch(self._work, sql, arguments, _PATIENCE)

    def fetch_control(self, sql: str, *arguments: object) -> Fetching:
        """As `fetch`, on the connection that keeps leases and presence alive whatever the others are busy with."""
        return self._fetch(self._control, sql, arguments)

    async def value(self, sql: str, *arguments: object) -> Any:
        """The only value of the only row of a statement."""
        return (await self.fetch(sql, *arguments))[0][0]

    async def _fetch(
        self, connections: Connections | None, sql: str, arguments: Sequence[object], patience: float = 1.0
    ) -> Sequence[Row]:
        opened = self._opened(connections)
        try:
            return await opened.fetch(sql, arguments, patience)
        except SchemaMismatch as error:
            if sqlstate_of(error.__cause__) not in MISSING:
                raise
        async with self._mending:  # the tables were there when it was opened: somebody has wiped them
            await self.prepare(incomplete=True)
        return await opened.fetch(sql, arguments, patience)

    @staticmethod
    def _opened(connections: Connections | None) -> Connections:
        if connections is None:
            raise BackendUnavailable("this backend is not open; use it as an async context manager")
        return connections

    async def prepare(self, *, incomplete: bool = False) -> Durability:
        """Create or upgrade the schema, if that is needed and allowed; answers what the server's settings promise.

        Args:
            incomplete: something of it is not there, whatever its mark says.

        Raises:
            SchemaMismatch: it cannot be used, and cannot be made usable.
        """
        return await self._opened(self._work).run(partial(self._prepared, incomplete))

    async def _prepared(self, incomplete: bool, connection: Connection) -> Durability:
        """As `prepare`; in transactions, as a pooler may be between."""
        if connection.get_settings().server_encoding != "UTF8":
            raise SchemaMismatch("the database's encoding is not UTF8; create it with `encoding 'UTF8'`")
        schema = self.settings.schema
        async with connection.transaction():
            current = await is_current(connection, schema) and not incomplete
            if current:
                return await self._learnt(connection)
        if not self.settings.migrate:
            raise SchemaMismatch(
                f"the schema {schema!r} is not there, not whole or older than this code, and "
                f"the option migrate=false forbids to change it; run `docket migrate`"
            )
        await upgrade(connection, schema, incomplete=incomplete)
        async with connection.transaction():
            return await self._learnt(connection)

    async def _learnt(self, connection: Connection) -> Durability:
        """Take in which store this is; answers what its settings promise."""
        self.identity = tuple(await connection.fetchrow(IDENTITY_SQL.format(schema=self.settings.schema)) or ())
        safe = "select current_setting('fsync') = 'on' and current_setting('synchronous_commit') <> 'off'"
        return Durability.FSYNC if await connection.fetchval(safe) else Durability.PROCESS
