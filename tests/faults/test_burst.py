"""Tasks that become due all at once never hold up another client of the server."""

import asyncio

import pytest

from tests.support.burst import LONGEST, Burst, burst
from tests.support.pings import pinging
from tests.support.servers.redis import RedisServer
from tests.support.troubled import KINDS, Kind

TASKS = 5000
TRIES = 6
"""Others compute on this machine too. What the server does to its clients it does each time."""


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("kind", KINDS, ids=repr)
async def test_many_tasks_due_at_one_instant_stall_no_other_client(kind: Kind) -> None:
    """The short form of `python -m tests.faults burst`."""
    bursts: list[Burst] = []
    with kind.start() as server:
        while len(bursts) < TRIES:
            bursts.append(await burst(kind.url(server.port), server.port, kind.name, TASKS))
            assert bursts[-1].pings > 100
            if bursts[-1].longest < LONGEST:
                return
    pytest.fail("; ".join(map(str, bursts)))


async def test_a_client_that_stalls_the_server_is_seen() -> None:
    """What is measured tells a long script from a busy machine."""
    busy = "local sum = 0; for number = 1, 20000000 do sum = sum + number end; return sum"
    with RedisServer() as server:
        async with pinging(server.port, "redis") as pings:
            await asyncio.to_thread(server.command, "EVAL", busy, 0)
    assert max(pings) > LONGEST
