"""Many tasks that are due at one instant, and another client of the server that must not notice."""

import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from docket_core import Docket
from docket_core.codec import JsonCodec
from tests.support.pings import pinging
from tests.support.workers import until, working

PORTION = 500
LONGEST = 0.020
"""Seconds that the other client may wait for an answer."""


class Burst(NamedTuple):
    """How it went."""

    tasks: int
    seconds: float
    """From the instant to the end of the last task."""
    pings: int
    longest: float
    """The longest that another client waited for an answer, in seconds."""

    def __str__(self) -> str:
        return (
            f"{self.tasks:,} tasks due at one instant had run {self.seconds:.1f} s later; of {self.pings:,} answers to "
            f"another client the slowest took {self.longest * 1000:.1f} ms"
        )


async def burst(url: str, port: int, protocol: str, tasks: int) -> Burst:
    """Let so many tasks become due at once under a worker, and ping the server from a second before to their end."""
    done = 0

    async def count() -> None:
        nonlocal done
        done += 1

    async def fill(docket: Docket, due: datetime) -> bool:
        """Add all the tasks; whether there is a second left before they are due."""
        for start in range(0, tasks, PORTION):
            numbers = range(start, min(start + PORTION, tasks))
            await docket.add_many([docket.call(count, when=due, key=f"t{number}")() for number in numbers])
        return due - datetime.now(UTC) > timedelta(seconds=1)

    async with Docket(f"burst-{uuid4().hex}", url, codec=JsonCodec(), execution_ttl=timedelta(0)) as docket:
        docket.register(count)
        allowed = timedelta(seconds=1.5 + tasks / 2000)
        while not await fill(docket, due := datetime.now(UTC) + allowed):
            await docket.clear()
            allowed *= 2
        async with pinging(port, protocol) as pings, working(docket, concurrency=200):
            early = due - datetime.now(UTC)
            began = time.monotonic() + early.total_seconds()
            await until(lambda: done >= tasks, 60)
            seconds = time.monotonic() - began
    return Burst(tasks, seconds, len(pings), max(pings))
