"""Adding tasks inside a caller's own transaction.

Under SQLAlchemy the statement goes through SQLAlchemy's connection: it begins its transaction lazily, so a statement
sent on the driver's connection beneath it may stand outside, and survive a rollback.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from docket_core.backend.kit import translated
from docket_core.errors import BackendUnavailable, ConfigurationError, DocketError
from docket_postgres.enqueuing import Fetch
from docket_postgres.errors import sqlstate_of, translate
from docket_postgres.store import IDENTITY_SQL

_MISSING = frozenset({"42P01", "3F000"})


async def joined(connection: object, schema: str, identity: Sequence[Any]) -> Fetch:
    """A way to send statements in the transaction of `connection`.

    Raises:
        ConfigurationError: it cannot carry docket's tasks.
    """
    if isinstance(connection, AsyncSession):
        connection = await connection.connection()
    if isinstance(connection, AsyncConnection):
        fetch = _through_sqlalchemy(connection)
        await _check(fetch, schema, identity)
        raw = (await connection.get_raw_connection()).driver_connection
        if isinstance(raw, asyncpg.Connection):
            _check_transaction(cast("asyncpg.Connection[asyncpg.Record]", raw))
        return fetch
    if isinstance(connection, asyncpg.Connection | PoolConnectionProxy):
        direct = cast("asyncpg.Connection[asyncpg.Record]", connection)
        _check_transaction(direct)
        fetch = _through_driver(direct)
        await _check(fetch, schema, identity)
        return fetch
    raise ConfigurationError(
        f"a {type(connection).__module__}.{type(connection).__qualname__} cannot carry tasks; join a SQLAlchemy "
        f"AsyncSession or AsyncConnection on asyncpg, or an asyncpg connection"
    )


def _through_sqlalchemy(connection: AsyncConnection) -> Fetch:
    if (connection.dialect.name, connection.dialect.driver) != ("postgresql", "asyncpg"):
        raise ConfigurationError(
            f"a connection of SQLAlchemy's {connection.dialect.name}+{connection.dialect.driver} cannot carry tasks "
            f"of a Postgres docket; use postgresql+asyncpg"
        )

    async def fetch(sql: str, *arguments: object) -> Sequence[Sequence[Any]]:
        with translated(_translate):
            result = await connection.exec_driver_sql(sql, arguments)
            return [tuple(row) for row in result.fetchall()]

    return fetch


def _through_driver(connection: "asyncpg.Connection[asyncpg.Record]") -> Fetch:
    async def fetch(sql: str, *arguments: object) -> Sequence[Sequence[Any]]:
        with translated(_translate):
            _check_transaction(connection)
            return cast("Sequence[Sequence[Any]]", await connection.fetch(sql, *arguments))

    return fetch


def _check_transaction(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    if not connection.is_in_transaction():
        raise ConfigurationError(
            "the connection to join is in no transaction, so there is nothing that could be rolled back; begin one"
        )


async def _check(
    fetch: Callable[..., Awaitable[Sequence[Sequence[Any]]]], schema: str, identity: Sequence[Any]
) -> None:
    try:
        found = (await fetch(IDENTITY_SQL.format(schema=schema)))[0]
    except DocketError as error:
        if sqlstate_of(error.__cause__) not in _MISSING:
            raise
        found = None
    if found is None or tuple(found) != tuple(identity):
        raise ConfigurationError(
            f"the connection to join leads to another database than the docket's (schema {schema!r}); "
            f"tasks can only join a transaction in the very database they live in"
        )


def _translate(error: BaseException) -> DocketError | None:
    known = translate(error)
    if known is None and isinstance(error, SQLAlchemyError):
        return BackendUnavailable(f"SQLAlchemy's connection cannot do it: {type(error).__name__}")
    return known
