"""A worker whose event loop was held up while the next task was handed over to it."""

from datetime import timedelta

import pytest

from docket_core import CurrentExecution, Docket, Execution
from docket_core.backend.clock import ManualClock, Micros, to_micros
from docket_redis.handover import Handovers
from tests.support.servers.redis import RedisServer
from tests.support.workers import Signal, until, working
from tests.unit.redis.support import LEASE, NAME
from tests.unit.redis.test_handover import ASK


async def test_what_is_seen_late_goes_back(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would begin with less than half a lease; the delivery is not counted, and the worker claims it anew."""
    clock = ManualClock()
    ages: list[Micros] = []
    heard: list[bytes] = []
    done = Signal()
    hear = Handovers.heard

    def hear_late(self: Handovers, channel: str, data: bytes) -> None:
        heard.append(data)
        clock.advance(LEASE // 2)
        hear(self, channel, data)

    async def look(execution: Execution = CurrentExecution()) -> None:
        assert execution.started_at is not None
        assert not execution.redelivered
        ages.append(clock.now() - to_micros(execution.started_at))
        done.give()

    monkeypatch.setattr(Handovers, "heard", hear_late)
    async with Docket(NAME, server.url, clock=clock) as docket:
        docket.register(look)
        async with working(docket, redelivery_timeout=timedelta(microseconds=LEASE)):
            await until(lambda: server.command(*ASK) is not None)
            await docket.add(look)()
            await done.seen()
    assert len(heard) == 1
    assert ages == [0]
