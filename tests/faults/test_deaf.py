"""Case 24: notifications are lost. Results, cancels and wake-ups arrive by polling within two seconds."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest

from docket_core import Docket, ExecutionCancelled
from docket_core.codec import JsonCodec
from docket_core.subscriptions import ProgressEvent, StateEvent
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer
from tests.support.troubled import KINDS, Kind, troubled
from tests.support.workers import Signal, until, within, working

POLLING = 2.0
SLACK = 1.0
"""Seconds that a busy machine may add."""


class Run:
    """What the task of one test does, and when."""

    def __init__(self) -> None:
        self.started = Signal()
        self.door = Signal()
        self.started_at = 0.0
        self.ended_at = 0.0


run = Run()


async def work() -> str:
    run.started_at = time.monotonic()
    run.started.give()
    try:
        await run.door.seen()
        return "done"
    finally:
        run.ended_at = time.monotonic()


class Ways(NamedTuple):
    """Two dockets on one store: who uses the first hears nothing."""

    deaf: Docket
    hearing: Docket


@pytest.fixture(scope="module", params=[*KINDS, "sqlite"], ids=str)
def started(request: pytest.FixtureRequest) -> Iterator[tuple[Kind, RedisServer | PostgresServer] | None]:
    if isinstance(request.param, str):
        yield None
        return
    kind: Kind = request.param
    with kind.start() as server:
        yield kind, server


@asynccontextmanager
async def opened(deaf: str, hearing: str) -> AsyncGenerator[Ways, None]:
    name = f"deaf-{uuid4().hex}"
    first, second = (Docket(name, url, codec=JsonCodec()) for url in (deaf, hearing))
    first.register(work)
    second.register(work)
    async with first, second:
        yield Ways(first, second)


@pytest.fixture
async def ways(started: tuple[Kind, RedisServer | PostgresServer] | None, tmp_path: Path) -> AsyncIterator[Ways]:
    global run  # noqa: PLW0603 - the task function reaches it, and each test has its own
    run = Run()
    if started is None:
        url = f"sqlite:///{tmp_path}/docket.db"
        async with opened(url, url) as made:
            nobody_is_told(tmp_path / "docket.db")
            yield made
        return
    async with troubled(*started) as store:
        store.proxy.deaf = True
        async with opened(store.url, store.straight) as made:
            yield made


def nobody_is_told(path: Path) -> None:
    """Whoever has something to tell finds nobody who listens."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TRIGGER deaf AFTER INSERT ON docket_listeners BEGIN DELETE FROM docket_listeners; END")
    connection.execute("DELETE FROM docket_listeners")
    connection.close()


async def test_case_24_a_task_that_nobody_tells_of_starts_in_time(ways: Ways) -> None:
    async with working(ways.deaf) as worker:
        await within(worker.has_claimed())
        await asyncio.sleep(0.3)  # it waits now, and is not about to
        added = time.monotonic()
        await ways.hearing.add(work)()
        await run.started.seen()
        assert run.started_at - added < POLLING + SLACK
        run.door.give()


async def test_case_24_a_result_that_nobody_tells_of_arrives_in_time(ways: Ways) -> None:
    async with working(ways.hearing):
        execution = await ways.deaf.add(work)()
        waiting = asyncio.create_task(execution.get_result())
        await run.started.seen()
        await asyncio.sleep(0.1)
        run.door.give()
        assert await within(waiting) == "done"
        assert time.monotonic() - run.ended_at < POLLING + SLACK


async def test_case_24_a_cancel_that_nobody_tells_of_arrives_in_time(ways: Ways) -> None:
    """The renewal of the lease tells, every two seconds at least."""
    async with working(ways.deaf):
        execution = await ways.hearing.add(work, key="k")()
        await run.started.seen()
        cancelled = time.monotonic()
        await ways.hearing.cancel("k")
        await until(lambda: run.ended_at > 0)
        assert run.ended_at - cancelled < POLLING + SLACK
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result())


async def test_case_24_the_states_of_a_run_are_told_in_time(ways: Ways) -> None:
    seen: list[str] = []

    def note(event: StateEvent | ProgressEvent) -> None:
        seen.append(event["state"].value if event["type"] == "state" else "progress")

    async def follow() -> None:
        async for event in execution.subscribe():
            note(event)

    async with working(ways.hearing):
        execution = await ways.deaf.add(work)()
        following = asyncio.create_task(follow())
        await run.started.seen()
        await until(lambda: "running" in seen or following.done(), POLLING + SLACK)
        run.door.give()
        await within(following, POLLING + SLACK)
    assert seen[-1] == "completed"
