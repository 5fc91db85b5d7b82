"""Servers that tests bring into trouble, with a proxy in front of each."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import NamedTuple

from tests.support.proxy import Counter, PostgresStatements, Proxy, RedisCommands
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer


class Kind(NamedTuple):
    """A kind of server that can be brought into trouble."""

    name: str
    start: Callable[[], "AbstractContextManager[RedisServer | PostgresServer]"]
    url: Callable[[int], str]
    """Its URL at a port."""
    counter: Callable[[], Counter]

    def __repr__(self) -> str:
        return self.name


def _redis_url(port: int) -> str:
    return f"redis://127.0.0.1:{port}"


def _postgres_url(port: int) -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


@contextmanager
def _redis() -> Generator[RedisServer, None, None]:
    with RedisServer(aof=True) as server:
        yield server


@contextmanager
def _postgres() -> Generator[PostgresServer, None, None]:
    with PostgresServer() as server:
        yield server


KINDS = (
    Kind("redis", _redis, _redis_url, RedisCommands),
    Kind("postgres", _postgres, _postgres_url, PostgresStatements),
)


class Troubled:
    """A server that a test may harm, as long as it is well again afterwards.

    Args:
        kind: of which kind it is.
        server: the process.
        proxy: the way to it that the test can harm instead.
    """

    def __init__(self, kind: Kind, server: RedisServer | PostgresServer, proxy: Proxy) -> None:
        self.kind = kind
        self.server = server
        self.proxy = proxy

    @property
    def url(self) -> str:
        """Through the proxy; an answer is waited for one second."""
        return f"{self.kind.url(self.proxy.port)}?timeout=1"

    @property
    def straight(self) -> str:
        """Past the proxy."""
        return self.kind.url(self.server.port)

    async def crash(self, away: float = 0.0) -> None:
        """End it without a goodbye, and start it again after so many seconds."""
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self.server.start)


@asynccontextmanager
async def troubled(kind: Kind, server: RedisServer | PostgresServer) -> AsyncGenerator[Troubled, None]:
    """A fresh proxy in front of a server."""
    async with Proxy(server.port, kind.counter) as proxy:
        yield Troubled(kind, server, proxy)


def kind_of(name: str) -> Kind:
    """The kind of that name."""
    return next(kind for kind in KINDS if kind.name == name)
