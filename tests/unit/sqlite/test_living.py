"""What an instance leaves behind: no rows, no threads, no files, no wake-ups that were lost."""

import asyncio
import gc
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.model import Ack, Gate, PermitRequest, PermitStatus, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.records import (
    CancelRequested,
    StateChanged,
    StrikeEvent,
    StrikeRule,
    StrikesCaughtUp,
    StrikesReset,
    Topic,
)
from docket_core.backend.states import State
from docket_sqlite import listeners, readers
from docket_sqlite.news import News
from docket_sqlite.strikes import Rules
from docket_sqlite.transaction import Executor
from tests.unit.sqlite.conftest import Open, rows_of

LEASE = 30 * SECOND
KEPT = {"docket_schema": 1, "docket_dockets": 1}
"""What stays: the schema's mark, and the docket's counters."""


async def test_all_rows_are_gone_after_work_and_retention(path: Path, opener: Open) -> None:
    clock = ManualClock()
    async with opener(clock=clock) as backend:
        await backend.enqueue([Task(f"k{number}", "f", b"p", f"r{number}") for number in range(20)])
        claims = (await backend.claim("w", {"f"}, 20, LEASE)).claims
        gate = Gate("gate", 1)
        requests = [PermitRequest(claim, gate, claim.key, LEASE, bound=True) for claim in claims[:5]]
        answers = await backend.acquire(requests)
        assert [answer.status for answer in answers].count(PermitStatus.DENIED) == 4
        acks = [Ack.park(request.claim, request) for request in requests[1:]]
        await backend.ack(acks + [Ack.complete(claim) for claim in (claims[0], *claims[5:])])
        await backend.cancel([claim.key for claim in claims[1:3]])
        for _ in range(2):
            for claim in (await backend.claim("w", {"f"}, 10, LEASE)).claims:
                await backend.ack([Ack.fail(claim, "no")])
        await backend.heartbeat("w", {"f"}, SECOND)
        await backend.strike("rule", b"x")
        await backend.strike("rule", None)
        clock.advance(timedelta(hours=1))
        assert await backend.prune(1000) > 0
        assert await backend.prune(1000) == 0
    assert {table: rows for table, rows in rows_of(path).items() if rows} == KEPT


async def test_a_hundred_openings_leave_nothing(path: Path, opener: Open) -> None:
    async def once() -> None:
        async with opener() as backend:
            await backend.claim("w", None, 1, LEASE)
            await backend.get(["k"])
            async with backend.strikes(), backend.subscribe({Topic.STATE}, ["k"]):
                pass

    await once()
    gc.collect()
    before = len(list(Path("/dev/fd").iterdir())), threading.active_count(), len(asyncio.all_tasks())
    for _ in range(100):
        await once()
    assert (len(list(Path("/dev/fd").iterdir())), threading.active_count(), len(asyncio.all_tasks())) <= before
    assert {table: rows for table, rows in rows_of(path).items() if rows} == KEPT


async def test_closing_finishes_what_was_begun(opener: Open) -> None:
    backend = opener()
    async with backend:
        adding = [asyncio.create_task(backend.enqueue([Task(f"k{number}", "f", b"p", "r")])) for number in range(50)]
        mark = (await backend.claim("w", {"other"}, 1, LEASE)).mark
        waiting = asyncio.create_task(backend.wait({"other"}, mark, None))
        await asyncio.sleep(0)
    await asyncio.gather(*adding)
    await waiting
    async with opener() as again:
        assert sum(row.queued for row in await again.counts()) == 50


async def test_a_cancelled_caller_loses_nothing(backend: Backend) -> None:
    adding = asyncio.create_task(backend.enqueue([Task("k", "f", b"p", "r")]))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    await backend.enqueue([])
    await backend.enqueue([Task("after", "f", b"p", "r")])
    assert (await backend.get(["k"]))[0] is not None


async def test_a_datagram_wakes_another_instance_before_the_safety_net(
    opener: Open, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docket_sqlite.hub.TICK", 60.0)
    one = await stack.enter_async_context(opener())
    two = await stack.enter_async_context(opener())
    mark = (await one.claim("w", {"f"}, 1, LEASE)).mark
    waiting = asyncio.create_task(one.wait({"f"}, mark, None))
    await asyncio.sleep(0.01)
    began = time.monotonic()
    await two.enqueue([Task("other", "g", b"p", "r"), Task("k", "f", b"p", "r")])
    await waiting
    assert time.monotonic() - began < 1


async def test_without_datagrams_the_safety_net_finds_everything(
    opener: Open, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(_: object, news: News, to: object) -> None:
        """Every datagram is lost."""

    monkeypatch.setattr(listeners.Sender, "send", send)
    one = await stack.enter_async_context(opener())
    two = await stack.enter_async_context(opener())
    async with (
        asyncio.timeout(5),
        one.subscribe({Topic.STATE}, ["k"]) as events,
        one.strikes() as strikes,
    ):
        mark = (await one.claim("w", {"f"}, 1, LEASE)).mark
        waiting = asyncio.create_task(one.wait({"f"}, mark, None))
        await asyncio.sleep(0.01)
        await two.strike("rule", b"x")
        await two.enqueue([Task("k", "f", b"p", "r")])
        await waiting
        event = await anext(aiter(events))
        assert isinstance(event, StateChanged)
        assert (event.key, event.state) == ("k", State.QUEUED)
        told = aiter(strikes)
        rule = StrikeRule("rule", b"x", 1)
        expected = [StrikesCaughtUp(0), StrikesReset(), rule, StrikesCaughtUp(1)]
        assert [await anext(told) for _ in expected] == expected


async def test_who_comes_to_follow_is_not_told_of_what_was_before(
    opener: Open, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another follower's look may be under way since before the latest strike."""
    looked, go_on = threading.Event(), threading.Event()
    look = readers.rules

    def slow(executor: Executor, docket: int) -> tuple[int, Rules]:
        seen = look(executor, docket)
        looked.set()
        assert go_on.wait(5)
        return seen

    async def first_told(backend: Backend) -> StrikeEvent:
        async with backend.strikes() as told:
            return await anext(told)

    one = await stack.enter_async_context(opener())
    two = await stack.enter_async_context(opener())
    async with asyncio.timeout(5):
        monkeypatch.setattr(readers, "rules", slow)
        early = asyncio.create_task(first_told(one))
        await asyncio.to_thread(looked.wait)
        monkeypatch.setattr(readers, "rules", look)
        await two.strike("rule", b"x")
        late = asyncio.create_task(first_told(one))
        await asyncio.sleep(0)
        go_on.set()
        assert await early == StrikesCaughtUp(0)
        assert await late == StrikeRule("rule", b"x", 1)


async def test_states_are_told_only_where_somebody_wants_them(
    opener: Open, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A docket follows the strikes and a worker the requests to cancel: neither makes any task tell of its states."""
    told: list[type] = []
    send = listeners.Sender.send

    def noting(sender: listeners.Sender, news: News, to: Iterable[listeners.Listener]) -> None:
        told.extend(type(event) for _, event in news.events)
        told.extend(type(rule) for rule in news.strikes)
        send(sender, news, to)

    monkeypatch.setattr(listeners.Sender, "send", noting)
    one = await stack.enter_async_context(opener())
    two = await stack.enter_async_context(opener())
    strikes = await stack.enter_async_context(one.strikes())
    cancels = await stack.enter_async_context(one.subscribe({Topic.CANCEL}, None))

    async def run(key: str) -> None:
        await two.enqueue([Task(key, "f", b"p", f"run of {key}")])
        [claim] = (await two.claim("w", {"f"}, 1, LEASE)).claims
        await two.cancel([key])
        await two.ack([Ack.complete(claim)])

    async with asyncio.timeout(5):
        await run("a")
        await two.strike("rule", b"x")
        assert told == [CancelRequested, StrikeRule]
        assert isinstance(await anext(aiter(cancels)), CancelRequested)
        assert [await anext(strikes) for _ in range(2)] == [StrikesCaughtUp(0), StrikeRule("rule", b"x", 1)]
        told.clear()
        async with one.subscribe({Topic.STATE}, ["b"]) as states:
            await run("b")
            assert told == [StateChanged, StateChanged, CancelRequested, StateChanged]
            assert isinstance(await anext(aiter(states)), StateChanged)


async def test_a_dead_listener_is_forgotten(path: Path, backend: Backend) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO docket_listeners VALUES (1, 9, 0, 'secret', 1)")
    connection.close()
    await backend.claim("w", None, 1, LEASE)
    assert rows_of(path)["docket_listeners"] == 1


def test_a_datagram_of_a_stranger_is_no_news() -> None:
    secret = listeners.new_secret()
    news = News()
    news.push("f", 3, 5)
    told = listeners.read(secret.encode() + b'{"work":{"f":[3,5]}}', secret)
    assert told is not None
    assert told.work == news.work
    for stranger in (b"", b"hello", secret.encode() + b"{", secret.encode() + b"[1]", secret[:-1].encode() + b"x{}"):
        assert listeners.read(stranger, secret) is None


async def test_an_idle_instance_hardly_uses_the_processor(backend: Backend) -> None:
    claimed = await backend.claim("w", {"f"}, 1, LEASE)
    began = os.times()
    await backend.wait({"f"}, claimed.mark, None)
    spent = os.times()
    busy = spent.user + spent.system - began.user - began.system
    assert busy < 0.1 * (spent.elapsed - began.elapsed), "a bound with room for a shared machine"
