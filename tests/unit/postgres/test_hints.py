"""NOTIFY is a hint: with it work is found at once, without it by polling, and an idle worker asks little."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.hookspecs import Opening
from docket_core.backend.model import Ack, OnConflict, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.records import CancelRequested, StateChanged, Topic
from docket_core.backend.registry import open_backend
from docket_core.backend.states import State
from docket_core.backend.url import parse_url
from docket_core.errors import BackendUnavailable
from docket_postgres.connections import Connections
from docket_postgres.enqueuing import PostgresEnqueuer
from docket_postgres.hints import Hints, News
from docket_postgres.settings import Settings, settings_of
from docket_postgres.store import Fetching, Store
from tests.support.servers.postgres import run_sql
from tests.support.workers import until, until_async, within


def task(key: str, function: str = "f") -> Task:
    return Task(key, function, b"", f"run of {key}")


def fresh(key: str) -> Task:
    """A task under the id of its run."""
    return Task(key, "f", b"", key)


async def advisory_locks(database: str) -> int:
    """How many are held in this database."""
    sql = "select count(*) from pg_locks l join pg_database d on d.oid = l.database where l.locktype = 'advisory'"
    return int(str((await run_sql(database, f"{sql} and d.datname = current_database()"))[0][0]))


@pytest.fixture
async def connection(database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    made = await asyncpg.connect(database)
    yield made
    await made.close()


@pytest.fixture
async def adding(
    database: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> "asyncpg.Connection[asyncpg.Record]":
    """In the middle of an add that tells nobody, before its commit."""
    settings = settings_of(Opening(parse_url(database), "d", 0, 0, None, {}))
    enqueuer = PostgresEnqueuer(connection.fetch, settings, 1 << 20, lambda: None, alone=True)
    async with open_backend(database, "d"):  # makes the schema
        await connection.execute("begin")
        await enqueuer.add([fresh("meanwhile")], OnConflict.KEEP, at_once=True)
    return connection


async def test_without_notify_work_and_events_are_found_by_polling(database: str) -> None:
    async with open_backend(f"{database}?notify=false", "d") as backend:
        assert not backend.capabilities.push
        claimed = await backend.claim("worker", None, 1, SECOND)
        before = time.monotonic()
        waiting = asyncio.ensure_future(backend.wait(None, claimed.mark, None))
        async with backend.subscribe({Topic.STATE}, ["key"]) as subscription:
            await backend.enqueue([task("key")])
            [claim] = (await backend.claim("worker", None, 1, 30 * SECOND)).claims
            await backend.ack([Ack.complete(claim)])
            async with asyncio.timeout(5):
                async for event in subscription:
                    assert isinstance(event, StateChanged)
                    if event.state is State.COMPLETED:
                        break
        await waiting
        assert time.monotonic() - before < 4


async def test_a_transaction_pooler_is_served_without_prepared_statements(database: str) -> None:
    async with open_backend(f"{database}?prepared=false&notify=false", "d") as backend:
        await backend.enqueue([task("key")])
        [claim] = (await backend.claim("worker", None, 1, 30 * SECOND)).claims
        assert [str(answer) for answer in await backend.ack([Ack.complete(claim)])] == ["acked"]


async def test_prepared_statements_are_given_up_when_a_pooler_loses_them(database: str) -> None:
    """What a pooler in transaction mode does to them, `deallocate all` does as well."""
    settings = Settings(
        database, database, "d", "docket", notify=False, prepared=True, pool=1, timeout=5.0, migrate=True
    )
    connections = Connections(settings, 1)
    try:
        for _ in range(2):
            assert [row[0] for row in await connections.fetch("select 1", ())] == [1]
            await connections.fetch("deallocate all", ())
    finally:
        await connections.close()


async def test_an_idle_worker_sends_at_most_two_statements_a_second(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    fetch = Connections.fetch

    async def counted(
        self: Connections, sql: str, arguments: Sequence[object], patience: float = 1.0
    ) -> Sequence[Sequence[object]]:
        sent.append(sql)
        return await fetch(self, sql, arguments, patience)

    monkeypatch.setattr(Connections, "fetch", counted)
    async with open_backend(database, "idle") as backend, backend.strikes() as strikes:
        reading = asyncio.ensure_future(anext(aiter(strikes)))
        async with backend.subscribe({Topic.CANCEL}, None):
            await asyncio.sleep(0.2)
            sent.clear()
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                await backend.heartbeat("worker", {"f"}, 10 * SECOND)
                claimed = await backend.claim("worker", {"f"}, 10, SECOND)
                await backend.wait({"f"}, claimed.mark, claimed.next_at)
        await reading
    assert len(sent) <= 8, sent


class TestNews:
    """What a waiter is woken by."""

    def test_only_its_functions_and_only_sooner_than_it_would_wake(self) -> None:
        news = News()
        mark = news.mark
        news.heard('{"f": 100}')
        assert news.mark == mark + 1
        assert news.concerns({"f"}, 200, mark)
        assert news.concerns(None, None, mark)
        assert not news.concerns({"f"}, 100, mark)
        assert not news.concerns({"g"}, None, mark)
        assert not news.concerns({"f"}, None, news.mark)

    def test_a_gap_concerns_everybody(self) -> None:
        news = News()
        mark = news.mark
        news.heard(None)
        assert news.concerns({"g"}, 0, mark)


async def test_who_comes_while_another_is_put_in_force_is_put_in_force_too(database: str) -> None:
    """The first is told that it is heard while the server is still asked for the next."""
    hints = Hints(settings_of(Opening(parse_url(database), "d", 0, 0, None, {})))
    heard: list[str | None] = []
    both = asyncio.Event()

    def second(payload: str | None) -> None:
        heard.append(payload)
        both.set()

    hints.add("one", lambda _: hints.add("two", second))
    try:
        async with asyncio.timeout(5):
            await both.wait()
            both.clear()
            await run_sql(database, "select pg_notify('two', 'news')")
            await both.wait()
    finally:
        await hints.close()
    assert heard == [None, "news"]


class TestWhereNobodyListens:
    """An add whose key is its run's id sends no notification there, and may not lose one where somebody does."""

    async def test_it_is_sent_only_where_somebody_listens(
        self, database: str, connection: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        channel = settings_of(Opening(parse_url(database), "d", 0, 0, None, {})).channel
        heard: list[str] = []
        news = asyncio.Event()

        def hear(_connection: object, _pid: int, channel: str, _payload: object) -> None:
            heard.append(channel.removeprefix("docket_")[33:])
            news.set()

        for suffix in ("", "e", "fence"):
            await connection.add_listener(channel + suffix, hear)

        async def told_of(backend: Backend, key: str) -> list[str]:
            """On which channels an add was told of: notifications arrive in the order of the commits."""
            heard.clear()
            await backend.enqueue([fresh(key)])
            await run_sql(database, f"select pg_notify('{channel}fence', '')")
            while "fence" not in heard:
                news.clear()
                await within(news.wait())
            return heard[:-1]

        async def is_alone() -> bool:
            return not await advisory_locks(database)

        async with open_backend(database, "d") as backend:
            assert await told_of(backend, "nobody") == []
            async with backend.subscribe({Topic.CANCEL}, None):
                assert await told_of(backend, "who waits for a cancellation") == []
            async with backend.subscribe({Topic.STATE}, None):
                assert await told_of(backend, "who listens to states") == ["", "e"]
            await until_async(is_alone)
            assert await told_of(backend, "nobody any more") == []
            async with open_backend(database, "d") as other:
                await within(other.wait(None, None, None))  # it rings when it is in force
                assert await told_of(backend, "a worker that waits") == [""]
            await until_async(is_alone)
            assert await told_of(backend, "nobody again") == []

    async def test_what_is_added_meanwhile_is_found_by_who_begins_to_listen(
        self, database: str, adding: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        """However long its commit takes; nothing else wakes it, as its clock stands still."""
        looks = 0
        async with open_backend(database, "d", clock=ManualClock()) as backend:

            async def find() -> str:
                nonlocal looks
                while True:
                    claimed = await backend.claim("worker", None, 1, SECOND)
                    looks += 1
                    if claimed.claims:
                        return claimed.claims[0].key
                    await backend.wait(None, claimed.mark, None)

            finding = asyncio.ensure_future(find())
            await until(lambda: looks > 1)  # it listens, but has not been let in
            await adding.execute("commit")
            assert await within(finding) == "meanwhile"

    @pytest.mark.usefixtures("adding")
    async def test_an_add_that_takes_long_keeps_no_news_from_others(self, database: str) -> None:
        async with open_backend(database, "d", clock=ManualClock()) as backend, open_backend(database, "d") as other:
            await other.enqueue([task("running", "g")])
            assert (await backend.claim("worker", {"g"}, 1, 30 * SECOND)).claims
            async with backend.subscribe({Topic.CANCEL}, None) as subscription:
                await within(backend.wait(None, None, None))  # it rings when it listens
                claimed = await backend.claim("worker", None, 1, SECOND)
                waiting = asyncio.ensure_future(backend.wait(None, claimed.mark, None))
                await other.cancel(["running"])
                assert isinstance(await within(anext(aiter(subscription))), CancelRequested)
                await other.enqueue([fresh("key")])
                await within(waiting)


async def test_who_could_not_say_that_it_listens_says_so_soon(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the next repeat: until then it would hear of nothing."""
    fetch, failures = Store.fetch_control, [BackendUnavailable("away for a moment")]

    def fetch_control(self: Store, sql: str, *arguments: object) -> Fetching:
        if failures and "watcher" in sql:
            raise failures.pop()
        return fetch(self, sql, *arguments)

    async def is_known() -> bool:
        return await run_sql(database, "select topics from docket.watcher") == [[1]]

    monkeypatch.setattr(Store, "fetch_control", fetch_control)
    async with open_backend(database, "d") as backend, backend.subscribe({Topic.STATE}, None):
        assert not await is_known()
        await until_async(is_known, 5)
    assert not failures
