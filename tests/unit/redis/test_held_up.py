"""A worker whose event loop was held up while the next task was handed over to it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docket_core import CurrentExecution, Docket, Execution
from docket_redis.handover import Handovers
from tests.support.servers.redis import RedisServer
from tests.support.workers import Signal, within, working

LEASE = timedelta(milliseconds=800)


async def test_what_is_seen_late_goes_back(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would begin with less than half a lease; the delivery is not counted, and the worker claims it anew."""
    ages: list[timedelta] = []
    heard: list[bytes] = []
    begun, done, waits = Signal(), Signal(), Signal()
    hear = Handovers.heard

    def hear_and_tell(self: Handovers, channel: str, data: bytes) -> None:
        heard.append(data)
        hear(self, channel, data)

    async def look(execution: Execution = CurrentExecution()) -> None:
        assert execution.started_at is not None
        assert not execution.redelivered
        ages.append(datetime.now(UTC) - execution.started_at)
        (done if begun.given else begun).give()

    monkeypatch.setattr(Handovers, "heard", hear_and_tell)
    async with Docket("orders", server.url) as docket:
        wait = docket.backend.wait

        async def wait_and_tell(*arguments: Any) -> None:
            if begun.given:
                waits.give()
            await wait(*arguments)

        monkeypatch.setattr(docket.backend, "wait", wait_and_tell)
        async with working(docket, redelivery_timeout=LEASE) as worker:
            await within(worker.has_claimed())
            await docket.add(look)()
            await begun.seen()
            await waits.seen()
            await asyncio.sleep(0.1)  # what it asks for is known to the server
            before = len(heard)
            await docket.add(look)()
            time.sleep(0.6 * LEASE.total_seconds())  # noqa: ASYNC251  # the event loop is held up
            await done.seen()
    assert len(heard) == before + 1
    assert len(ages) == 2
    assert ages[1] < LEASE / 2
