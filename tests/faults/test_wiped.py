"""Case 23: what a live worker stands on is wiped. It goes on with an empty store, and no key is blocked."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from docket_core import Docket
from docket_core.codec import JsonCodec
from docket_core.errors import BackendUnavailable, ResultExpired
from tests.support.servers.postgres import PostgresServer, run_sql
from tests.support.servers.redis import RedisServer
from tests.support.workers import Signal, until, until_async, within, working

TASK_TABLES = ("docket_tasks", "docket_dockets", "docket_gates")
door = Signal()
entered: list[str] = []


async def note(key: str) -> str:
    return key


async def hold(key: str) -> str:
    entered.append(key)
    await door.seen()
    return key


class Wipe(NamedTuple):
    """A way to lose what a docket stands on."""

    name: str
    do: Callable[[str, Path], Awaitable[object]]
    """Given the URL of the store, and the test's folder."""

    def __repr__(self) -> str:
        return self.name


def redis_wipe(*command: str) -> Callable[[str, Path], Awaitable[object]]:
    async def wipe(url: str, _: Path) -> None:
        server = RedisServer(port=int(url.rpartition(":")[2]))
        for name in server.names() if command[0] == "DEL" else {""}:
            if command[0] != "DEL" or f"}}:{command[1]}" in name:
                server.command(command[0], *([name] if name else []))
        server.remove()

    return wipe


def postgres_wipe(*statements: str) -> Callable[[str, Path], Awaitable[object]]:
    return lambda url, _: run_sql(url, *statements)


async def drop_tables(_: str, folder: Path) -> None:
    connection = sqlite3.connect(folder / "docket.db", timeout=10, isolation_level=None)
    for table in TASK_TABLES:
        connection.execute(f"DROP TABLE {table}")
    connection.close()


async def unlink(_: str, folder: Path) -> None:
    for file in folder.glob("docket.db*"):
        file.unlink()


WIPES = {
    "redis": [
        Wipe("flushall", redis_wipe("FLUSHALL")),
        Wipe("streams", redis_wipe("DEL", "q:")),
        Wipe("tasks", redis_wipe("DEL", "t:")),
        Wipe("marks", redis_wipe("DEL", "m")),
    ],
    "postgres": [
        Wipe("schema", postgres_wipe("drop schema docket cascade")),
        Wipe("rows", postgres_wipe("delete from docket.task")),
        Wipe("table", postgres_wipe("drop table docket.task cascade")),
    ],
    "sqlite": [Wipe("tables", drop_tables), Wipe("file", unlink)],
}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if store == "sqlite":
        return f"sqlite:///{tmp_path}/docket.db"
    server: RedisServer | PostgresServer = request.getfixturevalue(store)
    return server.url if isinstance(server, RedisServer) else server.url()


@pytest.fixture
async def docket(url: str) -> AsyncIterator[Docket]:
    global door  # noqa: PLW0603 - task functions reach it, and each test has its own
    door = Signal()
    entered.clear()
    async with Docket(f"wiped-{uuid4().hex}", url, timedelta(seconds=0.3), codec=JsonCodec()) as opened:
        opened.register(note)
        opened.register(hold)
        yield opened


async def insist(docket: Docket, key: str, argument: str) -> object:
    """What the key's newest run returns; asked again where the store says that it is away or has lost it."""
    while True:
        with suppress(BackendUnavailable, ResultExpired):
            execution = await docket.replace(note, when=datetime.now(UTC), key=key)(argument)
            return await execution.get_result()
        await asyncio.sleep(0.05)


async def shows_itself(docket: Docket) -> bool:
    return bool(await docket.workers())


@pytest.mark.parametrize(
    ("store", "wipe"), [(store, wipe) for store, wipes in WIPES.items() for wipe in wipes], ids=repr
)
async def test_case_23_what_is_wiped_is_made_again(docket: Docket, wipe: Wipe, url: str, tmp_path: Path) -> None:
    options = {"redelivery_timeout": timedelta(seconds=1), "concurrency": 3}
    async with working(docket, **options) as worker:
        await docket.add(hold, key="running")("running")
        await docket.add(note, when=datetime.now(UTC) + timedelta(hours=1), key="later")("later")
        await until(lambda: entered == ["running"])
        await wipe.do(url, tmp_path)
        for key in ("new", "later"):
            assert await within(insist(docket, key, key), 5) == key
        door.give()
        await until(lambda: worker.room() == 3)
        assert await within(insist(docket, "running", "again"), 5) == "again"
        await until(worker.is_ready)
        await until_async(lambda: shows_itself(docket))
