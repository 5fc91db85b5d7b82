"""An idle worker is handed the next task by the add itself, and nothing is lost or kept on the way."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from docket_core.backend.clock import SECOND, Micros
from docket_core.backend.model import Ack, Acked, Claim, Claimed
from docket_core.backend.protocol import Backend
from docket_core.errors import BackendUnavailable
from docket_redis.backend import RedisBackend
from docket_redis.connection import Connection
from docket_redis.handover import Handovers, Mark
from docket_redis.wire import prefix_of
from tests.support.servers.redis import RedisServer
from tests.support.workers import until, within
from tests.unit.redis.support import LEASE, NAME, add, keys_left, opened
from tests.unit.redis.test_waiting import WORK, calls, counted, heard

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


class Wait:
    """A wait under way, and what it was handed."""

    def __init__(self, backend: Backend, functions: frozenset[str] | None, claimed: Claimed) -> None:
        self.claims: list[Claim] = []
        self.mark = claimed.mark
        self.task = asyncio.create_task(backend.wait(functions, claimed.mark, claimed.next_at, self._take))

    def _take(self, claims: Sequence[Claim], now: Micros) -> None:
        assert all(abs(now - claim.claimed_at) < SECOND for claim in claims)
        assert not self.task.done()
        self.claims.extend(claims)

    async def handed(self) -> Claim:
        """What was handed over to it."""
        await within(self.task)
        [claim] = self.claims
        return claim

    async def cancelled(self) -> None:
        """Cancel it."""
        self.task.cancel()
        await within(asyncio.wait({self.task}))


async def asking(
    server: RedisServer, backend: Backend, functions: frozenset[str] | None = WORK, lease: int = LEASE
) -> Wait:
    """A wait whose ask is in force."""
    while True:
        before = server.command(*ASK)
        claimed = await backend.claim("worker", functions, 10, lease)
        assert not claimed.claims
        waiting = Wait(backend, functions, claimed)
        await until(lambda: waiting.task.done() or server.command(*ASK) not in {None, before})  # noqa: B023
        if not waiting.task.done():  # the first wait ends once it hears the bells
            return waiting


async def again(server: RedisServer, backend: Backend, before: Wait) -> Wait:
    """The wait that follows what was handed over."""
    waiting = Wait(backend, WORK, Claimed((), 0, None, before.mark))
    await until(lambda: server.command(*ASK) is not None)
    return waiting


async def claimed_by(backend: Backend, worker: str = "other") -> list[Claim]:
    return list((await backend.claim(worker, WORK, 10, LEASE)).claims)


async def found_by(backend: Backend) -> Claim:
    """What there is to claim, as soon as there is something."""
    while not (claims := await claimed_by(backend)):
        await asyncio.sleep(0.01)
    [claim] = claims
    return claim


async def all_found_by(backend: Backend, number: int) -> set[str]:
    """The keys of so many that there are to claim, together or one after the other."""
    found: set[str] = set()
    while len(found) < number:
        found |= {claim.key for claim in await claimed_by(backend)}
        await asyncio.sleep(0.01)
    return found


async def on_its_way(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> tuple[Wait, Callable[[], None]]:
    """A wait that a task was handed over to, and what brings it the message of that, which is kept back."""
    waiting = await asking(server, idle)
    late: list[Callable[[], None]] = []
    hear = Handovers.heard

    def keep_back(self: Handovers, channel: str, data: bytes) -> None:
        late.append(lambda: hear(self, channel, data))

    monkeypatch.setattr(Handovers, "heard", keep_back)
    await add(other, ["key"])
    await until(lambda: bool(late))
    return waiting, late[0]


async def late(server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch) -> Wait:
    """A wait that another task's bell has ended before the message came of the one that it was handed."""
    waiting, bring = await on_its_way(server, idle, other, monkeypatch)
    await add(other, ["second"])
    await within(waiting.task)
    bring()
    return waiting


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
    claim = await waiting.handed()
    assert calls(server) == before + 1
    assert (claim.key, claim.run, claim.function, claim.payload) == ("key", "run-of-key", "work", b"payload")
    assert (claim.generation, claim.delivery, claim.attempt) == (1, 1, 1)
    assert claim.lease_until == claim.claimed_at + LEASE
    assert not await claimed_by(other)
    assert await idle.ack([Ack.complete(claim)]) == [Acked.ACKED]
    assert not keys_left(server)


async def test_one_after_the_other(server: RedisServer, idle: Backend, other: Backend) -> None:
    """What is handed over is as good as a claim: the wait after it asks again."""
    waiting = await asking(server, idle)
    for number in range(5):
        await add(other, [str(number)])
        claim = await waiting.handed()
        assert claim.key == str(number)
        waiting = await again(server, idle, waiting)
        await idle.ack([Ack.complete(claim)])
    waiting.task.cancel()


async def test_once_adds_are_handed_over_the_worker_is_told_before_they_are_answered(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ping before such an add sees to it. Where nobody waits, none is sent."""
    came: list[str] = []
    update = Connection.buffer_updated

    def note(self: Connection, nbytes: int) -> None:
        data = bytes(self.get_buffer(nbytes)[:nbytes])
        came.extend(who for mark, who in ((b"message", "worker"), (b"\r\nR1", "adder")) if mark in data)
        update(self, nbytes)

    monkeypatch.setattr(Connection, "buffer_updated", note)
    waiting = await asking(server, idle)
    await add(other, ["first"])
    for number in range(10):
        await waiting.handed()
        waiting = await again(server, idle, waiting)
        came.clear()
        await add(other, [str(number)])
        await until(lambda: len(came) == 2)
        assert came == ["worker", "adder"]
    await waiting.handed()
    await add(other, ["rung for"])
    before = counted(server.info("commandstats"), "ping")
    await add(other, ["another"])
    assert counted(server.info("commandstats"), "ping") == before


async def test_another_function_is_left_to_others(server: RedisServer, idle: Backend, other: Backend) -> None:
    waiting = await asking(server, idle)
    await add(other, ["key"], "play")
    assert [claim.key for claim in (await other.claim("other", {"play"}, 10, LEASE)).claims] == ["key"]
    assert not waiting.task.done()
    waiting.task.cancel()


async def test_a_cancelled_wait_asks_no_more(server: RedisServer, idle: Backend, other: Backend) -> None:
    waiting = await asking(server, idle)
    waiting.task.cancel()
    await until(lambda: server.command(*ASK) is None)
    await add(other, ["key"])
    assert [claim.key for claim in await claimed_by(other)] == ["key"]


async def test_a_claim_ends_what_was_asked(server: RedisServer, idle: Backend, other: Backend) -> None:
    """A worker that looks for itself waits no more."""
    waiting = await asking(server, idle)
    assert not await claimed_by(idle, "worker")
    await add(other, ["key"])
    await within(waiting.task)
    assert not waiting.claims
    assert [claim.key for claim in await claimed_by(other)] == ["key"]


async def test_a_closed_backend_asks_no_more(server: RedisServer, other: Backend) -> None:
    async with opened(server) as backend:
        waiting = await asking(server, await heard(backend))
    assert server.command(*ASK) is None
    await add(other, ["key"])
    assert [claim.key for claim in await claimed_by(other)] == ["key"]
    waiting.task.cancel()


async def test_whose_connection_is_gone_is_handed_nothing(server: RedisServer, idle: Backend, other: Backend) -> None:
    """A worker that has died: others are told, as if nobody had asked."""
    waiting = await asking(server, idle)
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await add(other, ["key"])
    assert server.command(*ASK) is None
    assert [claim.key for claim in await claimed_by(other)] == ["key"]
    waiting.task.cancel()


async def test_what_comes_as_a_wait_is_cancelled_is_its_callers(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was handed over before."""
    waiting = await asking(server, idle)
    hear = Handovers.heard

    def cancel_and_hear(self: Handovers, channel: str, data: bytes) -> None:
        waiting.task.cancel()
        hear(self, channel, data)

    monkeypatch.setattr(Handovers, "heard", cancel_and_hear)
    await add(other, ["key"])
    await within(asyncio.wait({waiting.task}))
    [claim] = waiting.claims
    assert not await claimed_by(other)
    assert await idle.ack([Ack.complete(claim)]) == [Acked.ACKED]


async def test_what_comes_after_a_wait_is_given_back(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message was late: nobody waits any more."""
    waiting, bring = await on_its_way(server, idle, other, monkeypatch)
    await waiting.cancelled()
    bring()
    claim = await within(found_by(other))
    assert (claim.key, claim.delivery, claim.generation) == ("key", 1, 1)


async def test_what_comes_between_a_wait_and_its_claim_comes_with_that(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: it is not given back as well."""
    waiting = await late(server, idle, other, monkeypatch)
    [claim] = await claimed_by(idle, "worker")
    assert claim.key == "key"
    assert [claim.key for claim in await claimed_by(idle, "worker")] == ["second"]
    assert await idle.ack([Ack.complete(claim)]) == [Acked.ACKED]
    assert not waiting.claims


async def test_what_comes_after_a_wait_that_no_claim_follows_is_given_back(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stops, for one."""
    await late(server, idle, other, monkeypatch)
    assert await within(all_found_by(other, 2)) == {"key", "second"}


async def test_what_comes_between_two_waits_is_given_back(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that waits again without a claim between."""
    waiting = await late(server, idle, other, monkeypatch)
    assert isinstance(waiting.mark, Mark)
    next_wait = Wait(idle, WORK, Claimed((), 0, None, waiting.mark._replace(bells=waiting.mark.bells + 1)))
    await asyncio.sleep(0)
    assert not next_wait.task.done()
    assert await within(all_found_by(other, 2)) == {"key", "second"}


async def test_what_a_failed_claim_has_not_brought_is_given_back(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim that ends an ask may fail while the message is on its way."""
    waiting, bring = await on_its_way(server, idle, other, monkeypatch)
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with suppress(BackendUnavailable):
        claiming = asyncio.create_task(claimed_by(idle, "worker"))
        await asyncio.sleep(0)
        bring()
        for claim in await claiming:
            await idle.ack([Ack.release(claim)])
    while True:
        with suppress(BackendUnavailable):
            claim = await within(found_by(other))
            break
    assert (claim.key, claim.generation) == ("key", 1)
    waiting.task.cancel()


async def test_a_message_that_is_lost_costs_latency_only(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next claim brings what was handed over, once, and under the lease it was granted with."""
    waiting, bring = await on_its_way(server, idle, other, monkeypatch)
    waiting.task.cancel()
    [claim] = await claimed_by(idle, "worker")
    assert (claim.key, claim.delivery, claim.lease_until - claim.claimed_at) == ("key", 1, LEASE)
    bring()
    assert not await claimed_by(idle, "worker")
    assert await idle.ack([Ack.complete(claim)]) == [Acked.ACKED]


async def test_a_message_that_comes_during_a_claim_is_heard_once(
    server: RedisServer, idle: Backend, other: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task comes with the claim, which names the ask, and with the message."""
    waiting, bring = await on_its_way(server, idle, other, monkeypatch)
    claiming = asyncio.create_task(claimed_by(idle, "worker"))
    await asyncio.sleep(0)
    bring()
    assert len(await claiming) == 1
    assert not await claimed_by(idle, "worker")
    waiting.task.cancel()


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
    assert (await waiting.handed()).key == "key"
    assert "nobody can read" in caplog.text


async def test_who_waits_for_a_moment_does_not_ask(server: RedisServer, idle: Backend) -> None:
    """A wait until a due time that is near is over before an ask would pay."""
    claimed = await idle.claim("worker", WORK, 10, LEASE)
    before = calls(server)
    await within(idle.wait(WORK, claimed.mark, claimed.now + SECOND // 10))
    assert calls(server) == before
