"""A large backlog drains while a worker is killed and the server crashes: none of its tasks is lost."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from docket_core.backend.states import State
from docket_core.docket import Docket
from docket_core.errors import BackendError
from tests.support.fleet import Trace, open_docket, step
from tests.support.nursery import nursery
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer

Answer = TypeVar("Answer")
PORTION = 500
WORKERS = 3
SLOTS = 50
LEASE = 3.0


class Store(NamedTuple):
    """Where a backlog is, and how its server is ended and started again; a file has no server."""

    url: str
    restart: Callable[[], None] | None = None


class Kind(NamedTuple):
    """A kind of store that keeps what it has acknowledged."""

    name: str
    start: Callable[[Path], AbstractContextManager[Store]]
    """Given a folder of its own."""

    def __repr__(self) -> str:
        return self.name


@contextmanager
def _sqlite(folder: Path) -> Generator[Store, None, None]:
    yield Store(f"sqlite:///{folder}/docket.db")


@contextmanager
def _postgres(_: Path) -> Generator[Store, None, None]:
    with PostgresServer(settings={"synchronous_commit": "on"}) as server:

        def crash() -> None:
            server.kill()
            server.start()

        yield Store(server.url(), crash)


@contextmanager
def _redis_always(_: Path) -> Generator[Store, None, None]:
    with RedisServer(aof=True) as server:

        def crash() -> None:
            server.kill()
            server.start()

        yield Store(server.url, crash)


@contextmanager
def _redis_everysec(_: Path) -> Generator[Store, None, None]:
    """Loses up to a second at a crash, so it is ended in good order."""
    with RedisServer(None, "--appendonly", "yes", "--appendfsync", "everysec") as server:

        def restart() -> None:
            server.stop()
            server.start()

        yield Store(server.url, restart)


KINDS = (
    Kind("sqlite", _sqlite),
    Kind("postgres", _postgres),
    Kind("redis-always", _redis_always),
    Kind("redis-everysec", _redis_everysec),
)


class Drained(NamedTuple):
    """How it went."""

    tasks: int
    completed: int
    started: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.completed:,} of {self.tasks:,} tasks completed in {self.seconds:.1f} s, with a worker killed and "
            f"the server, where there is one, restarted; {self.started - self.tasks} starts were repeated"
        )


async def drain(store: Store, folder: Path, tasks: int, patience: float) -> Drained:
    """Put tasks on the docket and let workers run them, in spite of what happens to one of them and to the server.

    Raises:
        AssertionError: a task was lost, or more were repeated than can have been under way.
    """
    traced = Trace(folder / "trace")
    async with open_docket(store.url) as docket:
        for start in range(0, tasks, PORTION):
            numbers = range(start, min(start + PORTION, tasks))
            calls = [docket.call(step, key=f"t{number}")(str(traced.path), 0.0) for number in numbers]
            await docket.add_many(calls)
        began = time.monotonic()
        with nursery(folder) as children:
            options = {"redelivery_timeout": LEASE, "max_deliveries": None, "concurrency": SLOTS}
            fleet = [children.start("tests.support.fleet:work", store.url, dict(options)) for _ in range(WORKERS)]
            await _until(lambda: _ended(traced) > tasks // 4, patience)
            fleet[0].kill()
            await _until(lambda: _ended(traced) > tasks // 2, patience)
            if store.restart is not None:
                await asyncio.to_thread(store.restart)
            await _until_empty(docket, patience)
            seconds = time.monotonic() - began
            assert not any(worker.ended.is_set() for worker in fleet[1:]), children.errors()[-2000:]
        completed = await _completed(docket)
    starts = traced.by_key("start")
    missing = tasks - len(starts)
    assert not missing, f"{missing} tasks never ran"
    assert completed == tasks, f"{tasks - completed} tasks have no end"
    started = sum(map(len, starts.values()))
    assert started - tasks <= 2 * WORKERS * SLOTS, f"{started - tasks} starts were repeated"
    return Drained(tasks, completed, started, seconds)


def _ended(traced: Trace) -> int:
    return traced.path.read_bytes().count(b'["end"')


async def _until(condition: Callable[[], bool], patience: float) -> None:
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.05)


async def _until_empty(docket: Docket, patience: float) -> None:
    async with asyncio.timeout(patience):
        while await _insist(docket.backend.counts):
            await asyncio.sleep(0.05)


async def _insist(call: Callable[[], Awaitable[Answer]]) -> Answer:
    while True:
        try:
            return await call()
        except BackendError:
            await asyncio.sleep(0.05)


async def _completed(docket: Docket) -> int:
    completed, after = 0, None
    while True:
        page = await docket.backend.scan({State.COMPLETED}, 1000, after)
        completed += len(page.records)
        after = page.after
        if after is None:
            return completed
