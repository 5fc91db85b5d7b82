"""A caller's own connection to the store, for the requirements about transactions."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Opens a connection as a user of the store would have one, beside docket's own."""

DIALECTS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
"""URL schemes that SQLAlchemy understands as well, and the asynchronous dialects it serves them with."""


def connect_by_url(url: str) -> Connect | None:
    """Connections by SQLAlchemy to where this URL leads; None where it knows no such scheme."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    dialect = DIALECTS.get(scheme)
    return None if dialect is None else connect_by_sqlalchemy(f"{dialect}{separator}{rest}")


def connect_by_sqlalchemy(url: str) -> Connect:
    """Connections by an engine of their own."""

    @asynccontextmanager
    async def connected() -> AsyncGenerator[AsyncConnection, None]:
        engine = create_async_engine(make_url(url))
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()

    return connected
