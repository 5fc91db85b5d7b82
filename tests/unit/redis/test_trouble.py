"""A real server in trouble: full, restarted, silent, read-only, out of connections, wiped."""

import asyncio
import socket
import time
from fnmatch import fnmatch

import pytest

from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    EnqueueStatus,
    Gate,
    OnConflict,
    PermitRequest,
    PermitStatus,
    Task,
)
from docket_core.backend.records import Topic
from docket_core.backend.registry import open_backend
from docket_core.backend.states import State
from docket_core.errors import BackendUnavailable, Overloaded
from tests.support.servers.redis import RedisServer
from tests.unit.redis.support import LEASE, add, claim, drain, keys_left, opened, task


async def test_a_full_server_refuses_adds_and_drains(server: RedisServer) -> None:
    """A script whose first write frees passes; that of an add begins with one that grows."""
    async with opened(server, retention=60 * SECOND) as backend:
        assert {answer.status for answer in await add(backend, map(str, range(2000)))} == {EnqueueStatus.ACCEPTED}
        running = await claim(backend)
        server.command("CONFIG", "SET", "maxmemory", 1)
        try:
            [refused] = await add(backend, ["one more"])
            assert refused.status is EnqueueStatus.REFUSED
            assert isinstance(refused.error, Overloaded)
            assert await backend.get(["one more"]) == [None]
            assert {str(answer) for answer in await backend.renew(running, LEASE)} == {"renewed"}
            assert set(await backend.ack([Ack.complete(one, b"r" * 1000) for one in running])) == {Acked.ACKED}
            await backend.heartbeat("worker", frozenset({"work"}), LEASE)
            await backend.strike("rule", b"instruction")
            await backend.cancel(["1999"])
            assert await drain(backend) == 1899
        finally:
            server.command("CONFIG", "SET", "maxmemory", 0)
        [accepted] = await add(backend, ["one more"])
        assert accepted.status is EnqueueStatus.ACCEPTED
    server.command("FLUSHALL")


async def test_forgotten_scripts_are_sent_again(server: RedisServer) -> None:
    async with opened(server) as backend:
        await add(backend, ["a"])
        server.command("SCRIPT", "FLUSH")
        assert await drain(backend) == 1
        server.command("SCRIPT", "FLUSH")
        answers = await backend.enqueue([task(str(number)) for number in range(1200)])
        assert {answer.status for answer in answers} == {EnqueueStatus.ACCEPTED}
        assert await drain(backend) == 1200


async def test_a_wiped_server_is_used_as_a_new_one(server: RedisServer) -> None:
    async with opened(server) as backend:
        await add(backend, ["a", "b"])
        [first] = await claim(backend, 1)
        server.command("FLUSHALL")
        assert await backend.ack([Ack.complete(first)]) == [Acked.GONE]
        assert await claim(backend) == []
        await add(backend, ["a", "c"])
        assert await drain(backend) == 2


async def test_a_wiped_stream_blocks_no_key(server: RedisServer) -> None:
    async with opened(server) as backend:
        await add(backend, ["a", "b"])
        server.command("DEL", "docket:{orders}:q:work")
        assert await claim(backend) == []
        [again] = await add(backend, ["a"])
        assert again.status is EnqueueStatus.ACCEPTED
        assert [one.key for one in await claim(backend)] == ["a"]
        await backend.cancel(["b"])
        await drain(backend)
    server.command("FLUSHALL")


@pytest.mark.parametrize(
    "deleted", ["t:*", "q:*", "s:*", "b:*", "l:*", "p*", "g*", "nx", "k", "m", "lx", "z:*", "h:*", "d:*"]
)
async def test_nothing_that_is_missing_stops_a_worker(server: RedisServer, deleted: str) -> None:
    """A server that evicts, or somebody at its console, may take any key away."""
    clock = ManualClock()
    gate = Gate("gate", 1)
    async with opened(server, clock=clock, retention=60 * SECOND) as backend:
        await add(backend, "abcdefg")
        claims = {one.key: one for one in await claim(backend, 6)}
        requests = [PermitRequest(claims[key], gate, key, LEASE, bound=True) for key in "abc"]
        await backend.acquire(requests)
        await backend.ack([Ack.park(requests[1].claim, requests[1]), Ack.park(requests[2].claim, requests[2])])
        await backend.ack([Ack.release(claims["d"]), Ack.complete(claims["e"], b"r" * 1000)])
        await backend.enqueue([Task("f", "work", b"p" * 1000, "newer")], OnConflict.REPLACE)
        await backend.schedule([task("later", delay=SECOND)])
        for name in server.names():
            if fnmatch(name.removeprefix("docket:{orders}:"), deleted):
                server.command("DEL", name)
        for _ in range(5):
            clock.advance(120 * SECOND)
            await drain(backend)
        await add(backend, "abcdefghi")
        await backend.get(list("abcdefghi"))
        await backend.scan(set(State), 100)
        await backend.counts()
        await backend.cancel(["a", "later"])
        await drain(backend)
        await backend.clear()
        clock.advance(3600 * SECOND)
        await backend.prune(1000)
        await add(backend, ["new"])
        assert await drain(backend) >= 1
    server.command("FLUSHALL")


async def test_a_crash_loses_nothing_with_a_log_on_disk() -> None:
    with RedisServer(aof=True) as server:
        async with opened(server) as backend:
            await add(backend, ["a", "b", "c"])
            [running] = await claim(backend, 1)
            server.kill()
            with pytest.raises(BackendUnavailable):
                await claim(backend)
            server.start()
            assert await backend.ack([Ack.complete(running)]) == [Acked.ACKED]
            assert await drain(backend) == 2


async def test_a_silent_server_is_given_up_and_found_again(oldest: RedisServer) -> None:
    async with opened(oldest, options="?timeout=1") as backend:
        oldest.pause()
        try:
            begun = time.monotonic()
            with pytest.raises(BackendUnavailable, match="not answered"):
                await add(backend, ["a"])
            assert time.monotonic() - begun < 3
        finally:
            oldest.go_on()
        await add(backend, ["b"])
        assert "b" in {one.key for one in await claim(backend)}
    oldest.command("FLUSHALL")


async def test_a_replica_takes_no_writes(server: RedisServer) -> None:
    async with opened(server) as backend:
        server.command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(BackendUnavailable, match="READONLY"):
                await add(backend, ["a"])
        finally:
            server.command("REPLICAOF", "NO", "ONE")
        await add(backend, ["a"])
        assert await drain(backend) == 1


def connected(server: RedisServer) -> socket.socket:
    """A connection that the server has taken."""
    while True:
        one = socket.create_connection(("127.0.0.1", server.port))
        one.sendall(b"PING\r\n")
        if one.recv(64).startswith(b"+PONG"):
            return one
        one.close()


async def test_too_many_connections() -> None:
    with RedisServer(None, "--maxclients", "2") as server:
        taken = [connected(server), connected(server)]
        try:
            with pytest.raises(BackendUnavailable):
                await opened(server).__aenter__()
        finally:
            for one in taken:
                one.close()
        async with asyncio.timeout(5):
            while True:
                try:
                    async with opened(server) as backend:
                        await add(backend, ["a"])
                        break
                except BackendUnavailable:
                    await asyncio.sleep(0.02)


async def test_an_account_limited_to_the_docket_can_do_all(server: RedisServer) -> None:
    """The rule as the documentation gives it."""
    rule = (
        "ACL SETUSER worker reset resetchannels on >secret ~docket:{orders}:* &docket:{orders}:* -@all "
        "+eval +evalsha +info +ping +subscribe +unsubscribe +publish +pubsub +time +del +exists +rename +get +set "
        "+setrange +hget +hgetall +hset +hdel +hlen +xadd +xdel +xlen +xrange +xtrim +zadd +zrem +zrange "
        "+zrangebyscore +zremrangebyrank +zremrangebyscore +zcard +zcount +zscore +zmscore +sadd +srem +smembers"
    )
    server.command(*rule.split())
    url = server.url.replace("redis://", "redis://worker:secret@")
    async with (
        open_backend(url, "orders", retention=1) as backend,
        backend.subscribe({Topic.STATE}, ["a"]),
        backend.strikes() as strikes,
    ):
        await backend.strike("rule", b"instruction")
        assert await anext(strikes) is not None
        await backend.schedule([task("a"), task("b", payload=b"p" * 1000), task("c", delay=SECOND)])
        one, other = await claim(backend)
        gate = Gate("gate", 1)
        requests = [PermitRequest(claimed, gate, claimed.key, LEASE, bound=True) for claimed in (one, other)]
        granted, denied = await backend.acquire(requests)
        assert (granted.status, denied.status) == (PermitStatus.GRANTED, PermitStatus.DENIED)
        await backend.ack([Ack.park(other, requests[1]), Ack.complete(one, b"result")])
        [woken] = await claim(backend)
        await backend.enqueue([task(woken.key)._replace(run="newer")], OnConflict.REPLACE)
        await backend.ack([Ack.complete(woken)])
        [again] = await claim(backend)
        await backend.ack([Ack.retry(again, attempt=2)])
        await backend.cancel(["b"])
        await backend.clear()
        await backend.strike("rule", None)
        await backend.heartbeat("worker", frozenset({"work"}), 1)
        await backend.workers()
        await backend.counts()
        claimed = await backend.claim("worker", None, 1, LEASE)
        await backend.wait(None, claimed.mark, 0)
        await asyncio.sleep(0.01)  # retention and presence end, by the server's clock
        await backend.prune(100)
    assert keys_left(server) == set()


async def test_what_others_publish_disturbs_nobody(server: RedisServer) -> None:
    async with opened(server) as backend, backend.subscribe(set(Topic), None) as events, backend.strikes():
        claimed = await backend.claim("worker", None, 0, LEASE)
        await backend.wait(None, claimed.mark, None)
        for channel in ("es", "eg", "ec", "wa", "xs"):
            for nonsense in (b"", b"\xff\xfe", b"s\x1fkey", b"+x\x1f\xff\x1f"):
                server.command("PUBLISH", f"docket:{{orders}}:{channel}", nonsense)
        await add(backend, ["a"])
        async with asyncio.timeout(5):
            assert (await anext(aiter(events))).key == "a"
        assert await drain(backend) == 1


async def test_large_payloads_come_in_portions(server: RedisServer) -> None:
    large = b"x" * 1_000_000
    async with opened(server) as backend:
        answers = await backend.enqueue([task(str(number), payload=large) for number in range(20)])
        assert {answer.status for answer in answers} == {EnqueueStatus.ACCEPTED}
        first = await claim(backend)
        assert 0 < len(first) < 20
        assert all(one.payload == large for one in first)
        records = await backend.get([str(number) for number in range(20)])
        assert all(
            record is not None and record.live is not None and record.live.payload == large for record in records
        )
        assert len((await backend.scan(set(State), 100)).records) == 20
        assert set(await backend.ack([Ack.complete(one, large) for one in first])) == {Acked.ACKED}
        assert len(first) + await drain(backend) == 20
    assert keys_left(server) == set()


async def test_a_scan_looks_past_many_that_are_not_wanted(server: RedisServer) -> None:
    async with opened(server, clock=ManualClock()) as backend:
        await backend.schedule([task(f"later-{number}", delay=SECOND) for number in range(3)])
        await add(backend, [str(number) for number in range(1300)])
        await backend.schedule([task("last", delay=SECOND)])
        page = await backend.scan({State.SCHEDULED}, 3)
        assert [record.key for record in page.records] == ["later-0", "later-1", "later-2"]
        page = await backend.scan({State.SCHEDULED}, 3, page.after)
        assert ([record.key for record in page.records], page.after) == (["last"], None)
    server.command("FLUSHALL")


async def test_text_that_is_no_unicode_finds_nothing(server: RedisServer) -> None:
    async with opened(server) as backend:
        [refused] = await backend.enqueue([task("\ud800")])
        assert refused.status is EnqueueStatus.REFUSED
        assert await backend.get(["\ud800", "a"]) == [None, None]
        assert await backend.cancel(["\ud800"]) == [CancelReply.GONE]
        assert await claim(backend, 1, frozenset({"\ud800"})) == []
        await backend.retire("\ud800")
