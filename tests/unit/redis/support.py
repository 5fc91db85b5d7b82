"""Shorthands of the tests of the Redis backend."""

from collections.abc import Iterable

from docket_core.backend.clock import SECOND, Clock, Micros
from docket_core.backend.model import Ack, Acked, Claim, Enqueued, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from tests.support.servers.redis import RedisServer

LEASE: Micros = 30 * SECOND
NAME = "orders"


def opened(
    server: RedisServer, name: str = NAME, *, options: str = "", clock: Clock | None = None, retention: Micros = 0
) -> Backend:
    """A backend on `server`, not yet entered."""
    return open_backend(f"{server.url}{options}", name, clock=clock, retention=retention)


def task(key: str, function: str = "work", payload: bytes = b"payload", *, delay: Micros | None = None) -> Task:
    return Task(key, function, payload, f"run-of-{key}", delay=delay)


async def add(backend: Backend, keys: Iterable[str], function: str = "work") -> list[Enqueued]:
    return list(await backend.enqueue([task(key, function) for key in keys]))


async def claim(backend: Backend, limit: int = 100, functions: frozenset[str] | None = None) -> list[Claim]:
    return list((await backend.claim("worker", functions, limit, LEASE, None)).claims)


async def drain(backend: Backend) -> int:
    """Claim and complete all that is there; how many."""
    done = 0
    while claims := await claim(backend):
        assert set(await backend.ack([Ack.complete(one) for one in claims])) == {Acked.ACKED}
        done += len(claims)
    return done


def keys_left(server: RedisServer) -> set[str]:
    """The keys on the server, but for those that hold a docket's newest token."""
    return {name for name in server.names() if not name.endswith("}:m")}
