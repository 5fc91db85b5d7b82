"""A cluster, and a server that sentinels watch."""

import asyncio
from collections.abc import AsyncIterable, Iterator
from itertools import count

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import EnqueueStatus
from docket_core.backend.protocol import Backend
from docket_core.backend.records import Event, Topic
from docket_core.backend.registry import open_backend
from docket_core.errors import BackendUnavailable
from docket_redis.wire import prefix_of
from tests.support.servers.redis_many import RedisCluster, Watched
from tests.unit.redis.support import NAME, add, drain, task

NAMES = [f"docket-{number}" for number in range(6)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as started:
        yield started


async def insist(backend: Backend, key: str) -> None:
    """Add a key as soon as the store takes it, as a worker would; within the five seconds that recovery may take."""
    async with asyncio.timeout(5):
        while True:
            try:
                [answer] = await backend.enqueue([task(key)])
            except BackendUnavailable:
                await asyncio.sleep(0.05)
            else:
                assert answer.status is EnqueueStatus.ACCEPTED
                return


async def test_each_docket_is_on_the_node_of_its_slot(cluster: RedisCluster) -> None:
    owners = {cluster.owner(prefix_of(name)).port for name in NAMES}
    assert len(owners) == 3
    for name in NAMES:
        async with open_backend(cluster.url, name, retention=0) as backend:
            await add(backend, ["a", "b{c}d"])
            assert await drain(backend) == 2


async def test_a_node_that_is_away_does_not_matter(cluster: RedisCluster) -> None:
    url = cluster.url.replace("://", "://127.0.0.1:1,")
    async with open_backend(url, NAME, retention=0) as backend:
        await add(backend, ["a"])
        assert await drain(backend) == 1


async def first_after_the_move(events: AsyncIterable[Event]) -> Event:
    async for event in events:
        if event.key.startswith("after"):
            return event
    raise AssertionError("the events ended")


async def test_events_follow_a_docket_that_moves(cluster: RedisCluster) -> None:
    """The slot moves to another node under a live backend: nothing is lost, and what it listens to goes on."""
    source = cluster.owner(prefix_of(NAME))
    target = next(node for node in cluster.masters if node is not source)
    async with open_backend(cluster.url, NAME, retention=0) as backend, open_backend(cluster.url, NAME) as other:
        await add(backend, ["before"])
        async with backend.subscribe({Topic.STATE}, None) as events:
            cluster.move_slot(prefix_of(NAME), source, target)
            try:
                assert await drain(backend) == 1  # finds out, and its listening connection follows
                heard = asyncio.create_task(first_after_the_move(events))
                async with asyncio.timeout(5):
                    for number in count():
                        await add(other, [f"after-{number}"])
                        if (await asyncio.wait({heard}, timeout=0.05))[0]:
                            break
                await drain(other)
            finally:
                cluster.move_slot(prefix_of(NAME), target, source)


async def test_a_replica_that_takes_over() -> None:
    with RedisCluster(replicas=True) as cluster:
        async with open_backend(cluster.url, NAME, retention=0) as backend:
            await add(backend, ["a"])
            cluster.fail_over(cluster.owner(prefix_of(NAME)))
            await insist(backend, "b")
            assert await drain(backend) == 2


async def test_sentinels_name_the_server_that_was_promoted() -> None:
    with Watched() as watched:
        async with open_backend(f"{watched.url}?timeout=1", NAME, retention=60 * SECOND) as backend:
            await add(backend, ["a"])
            watched.master.command("WAIT", 1, 1000)
            watched.master.kill()
            with pytest.raises(BackendUnavailable):
                await add(backend, ["lost"])
            await insist(backend, "b")
            assert watched.replica.info("replication")["role"] == "master"
            assert await drain(backend) == 2
