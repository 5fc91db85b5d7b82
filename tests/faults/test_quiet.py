"""Case 29, seen from the server: what an idle worker sends, heartbeat included, and how soon it starts all the same."""

import asyncio
import time

from docket_core import Docket
from docket_core.codec import JsonCodec
from tests.support.troubled import KINDS, Kind, troubled
from tests.support.workers import within, working

SECONDS = 8.0
MOST = 2.0
"""Commands or statements in a second."""
AT_ONCE = 0.5
"""Seconds, on a machine that may be busy; a poll would take up to two."""


async def moment() -> float:
    return time.monotonic()


async def idle(kind: Kind) -> tuple[int, float]:
    """How much a worker asked of its server while it had nothing to do, and how late it started then."""
    with kind.start() as server:
        async with troubled(kind, server) as store, Docket("quiet", store.url, codec=JsonCodec()) as docket:
            docket.register(moment)
            async with working(docket) as worker, Docket("quiet", store.straight, codec=JsonCodec()) as other:
                await within(worker.has_claimed())
                await asyncio.sleep(0.5)
                before = store.proxy.asked
                await asyncio.sleep(SECONDS)
                asked = store.proxy.asked - before
                late: list[float] = []
                for _ in range(3):
                    added = time.monotonic()
                    execution = await other.add(moment)()
                    late.append(await within(execution.get_result()) - added)
                    await asyncio.sleep(0.3)
    return asked, min(late)


async def test_case_29_an_idle_worker_sends_at_most_two_commands_a_second_and_starts_at_once() -> None:
    """To each kind of server, at the same time."""
    answers = await asyncio.gather(*map(idle, KINDS))
    for kind, (asked, late) in zip(KINDS, answers, strict=True):
        assert SECONDS / 4 <= asked <= SECONDS * MOST, kind  # it does ask, and it is counted
        assert late < AT_ONCE, kind
