"""The stores that behaviour tests run on, each test on one of its own. A new backend is a new line here."""

from collections.abc import Callable
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from docket_core.backend.capabilities import Capabilities
from docket_core.backend.registry import open_backend
from tests.support.servers import postgres, redis

_numbers = count(1)


class Store(NamedTuple):
    """One kind of store."""

    name: str
    url: Callable[[Path], str]
    """A URL that nobody else uses; the folder is the test's own."""
    example: str
    """A URL of the kind, to ask what it can do without opening anything."""

    def __repr__(self) -> str:
        return self.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as far as that is known before it is opened."""
        return open_backend(self.example, "probe").capabilities


class _Servers:
    """The servers that these tests share, started when the first test needs them."""

    @cached_property
    def postgres(self) -> str:
        return postgres.shared_postgres_url("16")

    @cached_property
    def redis(self) -> str:
        return redis.shared_url("6.2")


_SERVERS = _Servers()


def _memory(_: Path) -> str:
    return f"memory://test-{next(_numbers)}"


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/docket.db"


def _postgres(_: Path) -> str:
    """One of four schemas, emptied: to create one for each test would take a third of its time."""
    schema = f"test_{next(_numbers) % 4}"
    postgres.empty(_SERVERS.postgres, schema)
    return f"{_SERVERS.postgres}?schema={schema}"


def _redis(_: Path) -> str:
    """One of the server's databases, emptied: tests of this process run one after the other."""
    parts = urlsplit(_SERVERS.redis)
    database = next(_numbers) % 16
    address = (parts.hostname or "127.0.0.1", parts.port or 6379)
    redis.commands(*address, ("SELECT", database), ("FLUSHDB",))
    return f"redis://{address[0]}:{address[1]}/{database}"


STORES = [
    Store("memory", _memory, "memory://example"),
    Store("sqlite", _sqlite, "sqlite:////nowhere/docket.db"),
    Store("postgres", _postgres, "postgresql://localhost/example"),
    Store("redis", _redis, "redis://localhost"),
]
"""All of them."""
SHARED = [store for store in STORES if store.capabilities.distributed]
"""Those that several processes can open."""
