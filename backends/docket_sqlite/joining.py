"""Tasks in a caller's own transaction, on the caller's connection to the same file.

What the caller may bring: SQLAlchemy's `AsyncSession` or `AsyncConnection`, an `aiosqlite.Connection`, or a
`sqlite3.Connection` of this thread. Docket takes the write lock with its first statement and keeps it until the caller
commits or rolls back: meanwhile nobody else writes to the file, so keep such transactions short.

How it begins. Python's SQLite driver begins a transaction by itself only before an INSERT, UPDATE or DELETE, and
SQLAlchemy leaves that to it: a session that has only read has begun nothing yet. Docket begins with BEGIN IMMEDIATE
then; the caller's commit or rollback ends that transaction as any other. Where the caller has a transaction that has
only read so far, and somebody else has written since, SQLite refuses it the lock: that is `BackendUnavailable`, and the
remedy is to begin with BEGIN IMMEDIATE, or to write before reading.
"""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.util import await_only, greenlet_spawn

from docket_core.backend.clock import Clock
from docket_core.backend.hookspecs import Opening
from docket_core.backend.model import Enqueued, EnqueueStatus, OnConflict, Task
from docket_core.backend.protocol import Enqueuer
from docket_core.errors import BackendUnavailable, ConfigurationError, Overloaded
from docket_sqlite import gates
from docket_sqlite.adding import add
from docket_sqlite.connection import File
from docket_sqlite.failures import translate
from docket_sqlite.news import Wanted
from docket_sqlite.room import Room
from docket_sqlite.transaction import Executor, Row, Transaction

TAKE_THE_LOCK = "UPDATE docket_dockets SET sequence = sequence + 1 WHERE name = ?"
ATTACHED = "SELECT file FROM pragma_database_list WHERE name = 'main'"


class _OnSqlite3:
    """A caller's sqlite3 connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._cursor.row_factory = None

    def begin(self) -> None:
        if not self._connection.in_transaction:
            self._cursor.execute("BEGIN IMMEDIATE")

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return self._cursor.execute(sql, parameters).fetchall()

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        self._cursor.executemany(sql, rows)


class _OnAiosqlite:
    """A caller's aiosqlite connection, used from within a greenlet."""

    def __init__(self, connection: aiosqlite.Connection, cursor: aiosqlite.Cursor) -> None:
        self._connection = connection
        self._cursor = cursor

    def begin(self) -> None:
        if not self._connection.in_transaction:
            await_only(self._cursor.execute("BEGIN IMMEDIATE"))

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        await_only(self._cursor.execute(sql, parameters))
        return [tuple(row) for row in await_only(self._cursor.fetchall())]

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        await_only(self._cursor.executemany(sql, rows))


class _OnSqlalchemy:
    """A caller's SQLAlchemy connection, used from within `run_sync`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self) -> None:
        driver: Any = self._connection.connection.driver_connection
        if not driver.in_transaction:
            self._connection.exec_driver_sql("BEGIN IMMEDIATE")

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        result = self._connection.exec_driver_sql(sql, tuple(parameters))
        return [tuple(row) for row in result] if result.returns_rows else []

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        self._connection.exec_driver_sql(sql, [tuple(row) for row in rows])


def join(connection: object, file: File, opening: Opening, clock: Clock) -> AbstractAsyncContextManager[Enqueuer]:
    """Tasks that are added through what this gives are there once the caller's transaction is committed.

    Raises:
        ConfigurationError: the connection is of a kind that cannot carry tasks, or leads to another file.
        BackendUnavailable: the write lock was not to be had.
    """
    if isinstance(connection, AsyncSession | AsyncConnection):
        return _on_sqlalchemy(connection, file, opening, clock)
    if isinstance(connection, aiosqlite.Connection):
        return _on_aiosqlite(connection, file, opening, clock)
    if isinstance(connection, sqlite3.Connection):
        return _on_sqlite3(connection, file, opening, clock)
    kind = type(connection)
    raise ConfigurationError(
        f"a {kind.__module__}.{kind.__qualname__} cannot carry tasks to SQLite; give a SQLAlchemy AsyncSession or "
        f"AsyncConnection, an aiosqlite.Connection or a sqlite3.Connection"
    )


@asynccontextmanager
async def _on_sqlalchemy(
    session: AsyncSession | AsyncConnection, file: File, opening: Opening, clock: Clock
) -> AsyncGenerator[Enqueuer, None]:
    connection = await session.connection() if isinstance(session, AsyncSession) else session
    if connection.dialect.name != "sqlite":
        raise ConfigurationError(
            f"the connection is one to {connection.dialect.name}; tasks can only join a transaction on {file}"
        )

    async def run(work: Callable[[Executor], Any]) -> Any:
        return await connection.run_sync(lambda sync: work(_begun(_OnSqlalchemy(sync), file)))

    yield _Joined(run, file, opening, clock)


@asynccontextmanager
async def _on_aiosqlite(
    connection: aiosqlite.Connection, file: File, opening: Opening, clock: Clock
) -> AsyncGenerator[Enqueuer, None]:
    cursor = await connection.cursor()
    cursor.row_factory = None

    async def run(work: Callable[[Executor], Any]) -> Any:
        return await greenlet_spawn(lambda: work(_begun(_OnAiosqlite(connection, cursor), file)))

    try:
        yield _Joined(run, file, opening, clock)
    finally:
        await cursor.close()


@asynccontextmanager
async def _on_sqlite3(
    connection: sqlite3.Connection, file: File, opening: Opening, clock: Clock
) -> AsyncGenerator[Enqueuer, None]:
    async def run(work: Callable[[Executor], Any]) -> Any:
        return work(_begun(_OnSqlite3(connection), file))

    yield _Joined(run, file, opening, clock)


def _begun(executor: _OnSqlite3 | _OnAiosqlite | _OnSqlalchemy, file: File) -> Executor:
    """The executor, inside a transaction on docket's own file."""
    main = executor.execute(ATTACHED)[0][0]
    if not main or not file.path.exists() or not Path(main).samefile(file.path):
        raise ConfigurationError(
            f"the connection is one to {main or 'a database in memory'}; tasks can only join a transaction on {file}"
        )
    executor.begin()
    return executor


class _Joined:
    """Adds tasks within the caller's transaction."""

    def __init__(
        self, run: Callable[[Callable[[Executor], Any]], Awaitable[Any]], file: File, opening: Opening, clock: Clock
    ) -> None:
        self._run = run
        self._file = file
        self._opening = opening
        self._clock = clock

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._add(tasks, on_conflict, at_once=True)

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._add(tasks, on_conflict, at_once=False)

    async def _add(self, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> Sequence[Enqueued]:
        if not tasks:
            return []

        def work(executor: Executor) -> list[Enqueued]:
            executor.execute(TAKE_THE_LOCK, (self._opening.name,))
            tx = self._transaction(executor)
            answers = add(tx, tasks, on_conflict, at_once=at_once)
            gates.settle(tx)
            tx.save()
            return answers

        try:
            answers: list[Enqueued] = await self._run(work)
        except Exception as error:
            told = translate(_cause(error), str(self._file))
            if told is None:
                raise
            if isinstance(told, Overloaded):
                return [Enqueued(EnqueueStatus.REFUSED, task.run, error=told) for task in tasks]
            raise told from error
        return answers

    def _transaction(self, executor: Executor) -> Transaction:
        rows = executor.execute("SELECT id FROM docket_dockets WHERE name = ?", (self._opening.name,))
        if not rows:
            raise BackendUnavailable(f"{self._file}: the docket {self._opening.name!r} is not in it (any more)")
        tx = Transaction(
            executor,
            rows[0][0],
            retention=self._opening.retention,
            max_payload=self._opening.max_payload,
            wanted=Wanted.WORK,
            is_full=Room(executor, self._file).refusal,
        )
        tx.now = self._clock.now()
        return tx


def _cause(error: BaseException) -> BaseException:
    """The driver's error, where SQLAlchemy has wrapped it."""
    return getattr(error, "orig", None) or error
