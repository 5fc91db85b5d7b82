"""Waiting for work on a real server, by its own clock."""

import asyncio
import re
import time

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Task
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from tests.support.servers.redis import RedisServer
from tests.unit.redis.support import LEASE, add, opened, task

WORK = frozenset({"work"})


async def idle(backend: Backend, until: int | None = None) -> None:
    """Claim nothing and wait."""
    claimed = await backend.claim("worker", WORK, 0, LEASE)
    await backend.wait(WORK, claimed.mark, until)


async def heard(backend: Backend) -> Backend:
    """The backend, once it hears the bells: the first wait ends with that."""
    await idle(backend)
    return backend


def calls(server: RedisServer) -> int:
    """How many commands clients have sent, without those within scripts."""
    stats = server.info("commandstats")
    sent = ("eval", "evalsha", "subscribe", "unsubscribe", "ping", "blpop", "xread")
    return sum(counted(stats, name) for name in sent)


def counted(stats: dict[str, str], command: str) -> int:
    found = re.match(r"calls=(\d+)", stats.get(f"cmdstat_{command}", ""))
    return int(found[1]) if found is not None else 0


def published(server: RedisServer) -> int:
    """How many messages were published, within scripts too."""
    return counted(server.info("commandstats"), "publish")


async def test_an_idle_worker_sends_next_to_nothing(oldest: RedisServer) -> None:
    """A claim and an ask for each wait, each of which the server is sent once more where it has not seen the script."""
    async with opened(oldest) as backend:
        await heard(backend)
        before, begun = calls(oldest), time.monotonic()
        claimed = await backend.claim("worker", WORK, 10, LEASE)
        await backend.wait(WORK, claimed.mark, claimed.next_at)
        assert (calls(oldest) - before) / (time.monotonic() - begun) <= 2


async def test_all_who_wait_are_woken(server: RedisServer) -> None:
    async with opened(server) as one, opened(server) as other, opened(server) as adder:
        waiting = [asyncio.create_task(idle(await heard(backend))) for backend in (one, other)]
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        await add(adder, [str(number) for number in range(10)])
        await asyncio.wait_for(asyncio.gather(*waiting), 5)
        assert time.monotonic() - begun < 1
        portions = [await backend.claim("worker", WORK, 5, LEASE) for backend in (one, other)]
        assert [len(portion.claims) for portion in portions] == [5, 5]
    server.command("FLUSHALL")


async def test_work_that_is_due_earlier_than_was_known_wakes(server: RedisServer) -> None:
    async with opened(server) as backend:
        await backend.schedule([task("later", delay=3600 * SECOND)])
        claimed = await (await heard(backend)).claim("worker", WORK, 10, LEASE)
        waiting = asyncio.create_task(idle(backend, claimed.next_at))
        await asyncio.sleep(0.1)
        await backend.schedule([Task("sooner", "work", b"", "run", delay=SECOND)])
        begun = time.monotonic()
        await asyncio.wait_for(waiting, 5)
        assert time.monotonic() - begun < 1
    server.command("FLUSHALL")


async def test_a_burst_rings_once(server: RedisServer) -> None:
    """A bell rings where something can be claimed earlier than was known, not with each task."""
    async with opened(server) as backend:
        await heard(backend)
        before = published(server)
        for number in range(20):
            await add(backend, [str(number)])
        assert published(server) - before == 2  # for those who want this function, and for those who want any
    server.command("FLUSHALL")


async def test_a_cancelled_wait_disturbs_nothing(server: RedisServer) -> None:
    async with opened(server) as backend:
        for _ in range(20):
            waiting = asyncio.create_task(idle(backend))
            await asyncio.sleep(0.001)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await add(backend, ["a"])
        assert len((await backend.claim("worker", WORK, 1, LEASE)).claims) == 1
    server.command("FLUSHALL")


async def test_a_hundred_callers_share_one_connection(server: RedisServer) -> None:
    async with opened(server) as backend:
        before = server.info("clients")["connected_clients"]
        await asyncio.gather(*(add(backend, [f"{number}"]) for number in range(100)))
        portions = await asyncio.gather(*(backend.claim("worker", WORK, 1, LEASE) for _ in range(100)))
        assert sum(len(portion.claims) for portion in portions) == 100
        assert server.info("clients")["connected_clients"] == before
    server.command("FLUSHALL")


async def test_a_refusal_to_listen_is_logged(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """An account that may not use the docket's channels."""
    server.command("ACL", "SETUSER", "mute", "reset", "resetchannels", "on", ">secret", "~*", "+@all")
    url = server.url.replace("redis://", "redis://mute:secret@")
    async with open_backend(url, "mute") as backend, backend.strikes():
        async with asyncio.timeout(5):
            while "does not let this docket listen: NOPERM" not in caplog.text:
                await asyncio.sleep(0.01)
