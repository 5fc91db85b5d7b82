"""An idle worker is handed the next task by the add itself, and nothing is lost or kept on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Claim, Claimed
from docket_core.backend.protocol import Backend
from docket_core.errors import BackendUnavailable
from docket_redis.backend import RedisBackend
from docket_redis.handover import Handovers
from docket_redis.wire import prefix_of
from tests.support.servers.redis import RedisServer
from tests.support.workers import until, within
from tests.unit.redis.support import LEASE, NAME, add, keys_left, opened
from tests.unit.redis.test_waiting import WORK, calls, heard

ASK = ("HGET", f"{prefix_of(NAME)}m", "ask")


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    server.command("FLUSHALL")


@pytest.fixture
async def idle(server: RedisServer) -> AsyncIterator[Backend]:
    """The backend of a worker that hears its bells."""
    async with opened(server) as backend:
        yield await heard(backend)


@pytest.fixture
async def other(server: RedisServer) -> AsyncIterator[Backend]:
    async with opened(server) as backend:
        yield backend


async def asking(
    server: RedisServer, backend: Backend, functions: frozenset[str] | None = WORK, lease: int = LEASE
) -> "asyncio.Task[Claimed | None]":
    """A wait whose ask is in force."""
    while True:
        before = server.command(*ASK)
        claimed = await backend.claim("worker", functions, 10, lease)
        assert not claimed.claims
        waiting = asyncio.create_task(backend.wait(functions, claimed.mark, claimed.next_at))
        await until(lambda: waiting.done() or server.command(*ASK) not in {None, before})  # noqa: B023
        if not waiting.done():  # the first wait ends once it hears the bells
            return waiting


async def claimed_by(backend: Backend, worker: str = "other") -> list[Claim]:
    return list((await backend.claim(worker, WORK, 10, LEASE)).claims)


async def handed(waiting: "asyncio.Task[Claimed | None]") -> Claimed:
    """What was handed over to a wait."""
    claimed = await within(waiting)
    assert claimed is not None
    return claimed


async def found_by(backend: Backend) -> Claim:
    """What there is to claim, as soon as there is something."""
    while not (claims := await claimed_by(backend)):
        await asyncio.sleep(0.01)
    [claim] = claims
    return claim


def delayed(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Keeps back what is handed over from now on; what is called then brings it."""
    late: list[Callable[[], None]] = []
    hear = Handovers.heard

    def keep_back(self: Handovers, channel: str, data: bytes) -> None:
        late.append(lambda: hear(self, channel, data))

    monkeypatch.setattr(Handovers, "heard", keep_back)
    return late


@pytest.mark.parametrize("functions", [WORK, frozenset({"play", "work"}), None])
async def test_the_next_task_is_handed_over(
    server: RedisServer, idle: Backend, other: Backend, functions: frozenset[str] | None
) -> None:
    """The worker that waits need not come for it."""
    await add(other, ["before"])  # the server has seen the script
    await other.cancel(["before"])
    waiting = await asking(server, idle, functions)
    before = calls(server)
    await add(other, ["key"])
    claimed = await handed(waiting)
    assert calls(server) == before + 1
    [claim] = claimed.claims
    assert (claim.key, claim.run, claim.function, claim.payload) == ("key", "run-of-key", "work", b"payload")
    assert (claim.generation, claim.delivery, claim.attempt) == (1, 1, 1)
    assert claim.lease_until == claim.claimed_at + LEASE == claimed.next_at
    assert not await claimed_by(other)
    assert await idle.ack([Ack.complete(claim)]) == [Acked.ACKED]
    assert not keys_left(server)


async def test_one_after_the_other(server: RedisServer, idle: Backend, other: Backend) -> None:
    """What is handed over is as good as a claim: the wait after it asks again."""
    waiting = await asking(server, idle)
    for number in range(5):
        await add(other, [str(number)])
        claimed = await handed(waiting)
        assert [claim.key for claim in claimed.claims] == [str(number)]
        waiting = asyncio.create_task(idle.wait(WORK, claimed.mark, claimed.next_at))
        await until(lambda: server.command(*ASK) is not None)
        await idle.ack([Ack.complete(claim) for claim in claimed.claims])
    waiting.cancel()


async def test_another_function_is_left_to_others(server: RedisServer, idle: Backend, other: Backend) -> None:
    waiting = await asking(server, idle)
    await add(other, ["key"], "play")
    assert [claim.key for claim in (await other.claim("other", {"play"}, 10, LEASE)).claims] == ["key"]
    assert not waiting.done()
    waiting.cancel()


async def test_a_cancelled_wait_asks_no_more(server: RedisServer, idle: Backend, other: Backend) -> None:
    waiting = await asking(server, idle)
    waiting.cancel()
    await until(lambda: server.command(*ASK) is None)
    await add(other, ["key"])
    assert [claim.key for claim in await claimed_by(other)] == ["key"]


async def test_a_claim_ends_what_was_asked(server: RedisServer, idle: Backend, other: Backend) -> None:
    """A worker that looks for itself waits no more."""
    waiting = await asking(server, idle)
    assert not await claimed_by(idle, "worker")
    await add(other, ["key"])
    assert await within(waiting) is None
    assert [claim.key for claim in await claimed_by(other)] == ["key"]


async def test_a_closed_backend_asks_no_more(server: RedisServer, other: Backend) -> None:
    async with opened(server) as backend:
        waiting = await asking(server, await heard(backend))
    assert server.command(*ASK) is None
    await add(other, ["key"])
    assert [claim.key for claim in await claimed_by(other)] == ["key"]
    waiting.cancel()


async def test_whose_connection_is_gone_is_handed_nothing(server: RedisServer, idle: Backend, other: Backend) -> None:
    """A worker that has died: others are told, as if nobody had asked."""
    waiting = await asking(server, idle)
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await add(other, ["key"])
    assert server.command(*ASK) is None
    assert [claim.key for claim in await claimed_by(other)] == ["key"]
    waiting.cancel()


async def test_what_comes_as_a_wait_is_cancelled_is_given_back(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its place, and this delivery is not counted."""
    waiting = await asking(server, idle)
    hear = Handovers.heard

    def hear_and_cancel(self: Handovers, channel: str, data: bytes) -> None:
        hear(self, channel, data)
        waiting.cancel()

    monkeypatch.setattr(Handovers, "heard", hear_and_cancel)
    await add(other, ["key"])
    await within(asyncio.wait({waiting}))
    assert waiting.cancelled()
    claim = await within(found_by(other))
    assert (claim.key, claim.delivery, claim.generation) == ("key", 1, 1)


async def test_what_comes_after_a_wait_is_given_back(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message was late: nobody waits any more."""
    waiting = await asking(server, idle)
    late = delayed(monkeypatch)
    await add(other, ["key"])
    await until(lambda: bool(late))
    waiting.cancel()
    await within(asyncio.wait({waiting}))
    late[0]()
    claim = await within(found_by(other))
    assert (claim.key, claim.delivery, claim.generation) == ("key", 1, 1)


async def test_what_a_failed_claim_has_not_brought_is_given_back(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim that ends an ask may fail while the message is on its way."""
    waiting = await asking(server, idle)
    late = delayed(monkeypatch)
    await add(other, ["key"])
    await until(lambda: bool(late))
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with suppress(BackendUnavailable):
        claiming = asyncio.create_task(claimed_by(idle, "worker"))
        await asyncio.sleep(0)
        late[0]()
        for claim in await claiming:
            await idle.ack([Ack.release(claim)])
    while True:
        with suppress(BackendUnavailable):
            claim = await within(found_by(other))
            break
    assert (claim.key, claim.generation) == ("key", 1)
    waiting.cancel()


async def test_a_message_that_is_lost_costs_latency_only(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next claim brings what was handed over, once, and under the lease it was granted with."""
    waiting = await asking(server, idle)
    late = delayed(monkeypatch)
    await add(other, ["key"])
    await until(lambda: bool(late))
    waiting.cancel()
    [claim] = await claimed_by(idle, "worker")
    assert (claim.key, claim.delivery, claim.lease_until - claim.claimed_at) == ("key", 1, LEASE)
    late[0]()
    assert not await claimed_by(idle, "worker")
    assert await idle.ack([Ack.complete(claim)]) == [Acked.ACKED]


async def test_a_message_that_comes_during_a_claim_is_heard_once(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task comes with the claim, which names the ask, and with the message."""
    waiting = await asking(server, idle)
    late = delayed(monkeypatch)
    await add(other, ["key"])
    await until(lambda: bool(late))
    claiming = asyncio.create_task(claimed_by(idle, "worker"))
    await asyncio.sleep(0)
    late[0]()
    assert len(await claiming) == 1
    assert not await claimed_by(idle, "worker")
    waiting.cancel()


async def test_a_strange_message_is_left_out(
    server: RedisServer, idle: Backend, other: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else publishes where tasks are handed over."""
    assert isinstance(idle, RedisBackend)
    waiting = await asking(server, idle)
    channel = (server.command("PUBSUB", "CHANNELS", f"{prefix_of(NAME)}a:*"),)
    strange: Any = channel[0]
    server.command("PUBLISH", strange[0], "hello")
    await add(other, ["key"])
    assert [claim.key for claim in (await handed(waiting)).claims] == ["key"]
    assert "nobody can read" in caplog.text


async def test_who_waits_for_a_moment_does_not_ask(server: RedisServer, idle: Backend) -> None:
    """A wait until a due time that is near is over before an ask would pay."""
    claimed = await idle.claim("worker", WORK, 10, LEASE)
    before = calls(server)
    await within(idle.wait(WORK, claimed.mark, claimed.now + SECOND // 10))
    assert calls(server) == before
