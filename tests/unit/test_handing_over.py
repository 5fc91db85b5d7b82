"""Workers on the stores whose adds hand over to them: what becomes of a task that they see late."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from docket_core import CurrentExecution, Docket, Execution
from docket_core.backend.model import Claimed
from tests.support.urls import STORES, Store
from tests.support.workers import Signal, within, working

LEASE = timedelta(milliseconds=800)


@pytest.fixture(params=[store for store in STORES if store.name in {"memory", "redis"}], ids=repr)
def docket_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    store: Store = request.param
    return store.url(tmp_path)


async def test_what_came_while_the_event_loop_was_held_up_begins_under_a_full_lease(
    docket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the worker sees what was handed over, half its lease may be over: it goes back, and is not counted."""
    ages: list[timedelta] = []
    handed: list[Claimed] = []
    begun, done, waits = Signal(), Signal(), Signal()

    async def look(execution: Execution = CurrentExecution()) -> None:
        assert execution.started_at is not None
        assert not execution.redelivered
        ages.append(datetime.now(UTC) - execution.started_at)
        (done if begun.given else begun).give()

    async with Docket("orders", docket_url) as docket:
        wait = docket.backend.wait

        async def wait_and_tell(*arguments: Any) -> Claimed | None:
            if begun.given:
                waits.give()
            claimed = await wait(*arguments)
            if claimed is not None:
                handed.append(claimed)
            return claimed

        monkeypatch.setattr(docket.backend, "wait", wait_and_tell)
        async with working(docket, redelivery_timeout=LEASE) as worker:
            await within(worker.has_claimed())
            await docket.add(look)()
            await begun.seen()
            await waits.seen()
            await asyncio.sleep(0.1)  # what it asks for is known to the store
            before = len(handed)
            await docket.add(look)()
            time.sleep(0.6 * LEASE.total_seconds())  # noqa: ASYNC251  # the event loop is held up
            await done.seen()
    assert len(handed) == before + 1
    assert len(ages) == 2
    assert ages[1] < LEASE / 2
