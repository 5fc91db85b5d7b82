"""A worker whose event loop was held up while the next task was handed over to it."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from docket_core import CurrentExecution, Docket, Execution
from docket_redis.handover import Handovers
from tests.support.servers.redis import RedisServer
from tests.support.workers import Signal, until, working
from tests.unit.redis.support import NAME
from tests.unit.redis.test_handover import ASK

LEASE = timedelta(milliseconds=800)


async def test_what_is_seen_late_goes_back(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would begin with less than half a lease; the delivery is not counted, and the worker claims it anew."""
    ages: list[timedelta] = []
    heard: list[bytes] = []
    done = Signal()
    hear = Handovers.heard

    def hear_late(self: Handovers, channel: str, data: bytes) -> None:
        heard.append(data)
        time.sleep(0.6 * LEASE.total_seconds())
        hear(self, channel, data)

    async def look(execution: Execution = CurrentExecution()) -> None:
        assert execution.started_at is not None
        assert not execution.redelivered
        ages.append(datetime.now(UTC) - execution.started_at)
        done.give()

    monkeypatch.setattr(Handovers, "heard", hear_late)
    async with Docket(NAME, server.url) as docket:
        docket.register(look)
        async with working(docket, redelivery_timeout=LEASE):
            await until(lambda: server.command(*ASK) is not None)
            await docket.add(look)()
            await done.seen()
    assert len(heard) == 1
    assert len(ages) == 1
    assert ages[0] < LEASE / 2
