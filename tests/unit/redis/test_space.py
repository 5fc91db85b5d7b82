"""What a docket takes on the server, and that nothing of it stays."""

import random
from typing import NamedTuple

import pytest

from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.model import Ack, Claim, Gate, OnConflict, PermitRequest, PermitStatus, ProgressUpdate, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.records import Topic
from tests.support.servers.redis import RedisServer
from tests.unit.redis.support import LEASE, add, drain, keys_left, opened

QUEUED = 3000


def used(server: RedisServer) -> int:
    return int(server.info("memory")["used_memory"])


@pytest.mark.parametrize(("size", "most"), [(60, 450), (150, 570)])
async def test_bytes_per_queued_task(server: RedisServer, size: int, most: int) -> None:
    async with opened(server) as backend:
        await add(backend, ["warm up"])
        await drain(backend)
        before = used(server)
        identity = "018f6b1e-7d5a-7c3e-9a41-{:012}".format
        for start in range(0, QUEUED, 200):
            numbers = range(start, start + 200)
            await backend.enqueue(
                [Task(identity(one), "shop.tasks.ship", b"x" * size, identity(one + QUEUED)) for one in numbers]
            )
        assert (used(server) - before) / QUEUED <= most
    server.command("FLUSHALL")


class Play:
    """A random history of a few keys, as some workers and a few users would make it."""

    def __init__(self, backend: Backend, clock: ManualClock, seed: int) -> None:
        self.backend = backend
        self.clock = clock
        self.chance = random.Random(seed)
        self.held: list[Claim] = []
        self.runs = 0

    def task(self, key: str) -> Task:
        self.runs += 1
        size = self.chance.choice([0, 10, 64, 200, 2000])
        delay = self.chance.choice([None, SECOND, 20 * SECOND])
        return Task(key, self.chance.choice("fg"), b"p" * size, f"run-{self.runs}", delay=delay)

    def request(self, claim: Claim) -> PermitRequest:
        return PermitRequest(
            claim,
            Gate(self.chance.choice("AB"), self.chance.choice([1, 2])),
            self.chance.choice([claim.key, f"{claim.key}/{claim.run}"]),
            self.chance.choice([SECOND, 5 * SECOND]),
            self.chance.random() < 0.5,
            self.chance.random() < 0.2,
        )

    async def step(self) -> None:
        backend, chance = self.backend, self.chance
        match chance.randrange(8):
            case 0 | 1:
                tasks = [self.task(chance.choice("abcde")) for _ in range(3)]
                await backend.schedule(tasks, chance.choice(list(OnConflict)))
            case 2 | 3:
                claimed = await backend.claim("worker", None, 3, 3 * SECOND, chance.choice([None, 2]))
                self.held += claimed.claims
            case 4:
                self.clock.advance(chance.choice([SECOND // 10, SECOND, 5 * SECOND]))
            case 5 if self.held:
                claim = chance.choice(self.held)
                await backend.renew([claim], 3 * SECOND)
                await backend.progress([ProgressUpdate(claim, 1, 10, "going on")])
                request = self.request(claim)
                [permit] = await backend.acquire([request])
                if permit.status is PermitStatus.DENIED:
                    await backend.ack([Ack.park(claim, request)])
            case 6 if self.held:
                await backend.ack([self.ack(self.held.pop(chance.randrange(len(self.held))))])
            case _:
                await backend.cancel([chance.choice("abcde")])

    def ack(self, claim: Claim) -> Ack:
        return self.chance.choice(
            [
                Ack.complete(claim, b"r" * self.chance.choice([0, 100, 1000])),
                Ack.complete(claim, successor=self.task(claim.key)),
                Ack.fail(claim, "it broke " * 20),
                Ack.retry(claim, attempt=2, delay=SECOND),
                Ack.release(claim),
            ]
        )


class Way(NamedTuple):
    seed: int
    retention: int


@pytest.mark.parametrize("way", [Way(seed, retention) for seed in range(8) for retention in (0, 30 * SECOND)])
async def test_nothing_is_left_after_any_history(server: RedisServer, way: Way) -> None:
    clock = ManualClock()
    async with opened(server, "history", clock=clock, retention=way.retention) as backend:
        play = Play(backend, clock, way.seed)
        async with backend.subscribe({Topic.STATE}, None):
            for _ in range(150):
                await play.step()
        for _ in range(50):
            clock.advance(70 * SECOND)
            await drain(backend)
            if not await backend.counts():
                break
        await backend.heartbeat("worker", frozenset({"f"}), LEASE)
        clock.advance(100 * SECOND)
        assert await backend.prune(10_000) < 10_000
    assert keys_left(server) == set()
