"""When those who hold a limit are lost, those who wait go on, and the limit holds."""

import asyncio

import pytest

from docket_core import ConcurrencyLimit, CurrentWorker, Docket, Worker
from docket_core.backend.model import Claim
from docket_core.backend.records import FunctionCounts
from tests.support.presence import Presence
from tests.support.workers import LEASE, until, until_async, within, working

presence = Presence()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global presence  # noqa: PLW0603 - the task reaches it, and each test has its own
    presence = Presence()


async def one_at_a_time(name: str, limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
    await presence.visit("all", name)


async def _hold_and_die(docket: Docket, function: str) -> str:
    """Take a task and its permit as a worker does, and never be heard of again."""
    docket.register(one_at_a_time)
    await docket.add(function)("held")
    lease = int(LEASE.total_seconds() * 1_000_000)
    claim: Claim = (await docket.backend.claim("dead", {function}, 1, lease)).claims[0]
    request = ConcurrencyLimit().permit(claim, f"concurrency:{function}")
    await docket.backend.acquire([request])
    return "held"


async def _parked(docket: Docket, how_many: int) -> bool:
    counts: list[FunctionCounts] = list(await docket.backend.counts())
    return sum(row.parked for row in counts) == how_many


@pytest.mark.requirement("R-059")
async def test_waiters_start_when_the_holders_are_lost(docket: Docket, other: Docket) -> None:
    """The holders' worker is gone with its lease; nothing else goes on that could wake anybody."""
    other.register(one_at_a_time)
    held = await _hold_and_die(docket, one_at_a_time.__name__)
    await docket.add(one_at_a_time)("waiter")
    async with working(other, redelivery_timeout=LEASE, concurrency=4):
        await until_async(lambda: _parked(docket, 1))
        await until(lambda: len(presence.order) == 2, seconds=LEASE.total_seconds() + 3)
    assert presence.order in ([held, "waiter"], ["waiter", held])
    assert presence.most["all"] == 1


@pytest.mark.requirement("R-059")
async def test_a_holder_that_cannot_renew_stops_before_another_starts(
    docket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zombie's body is cancelled at its lease's end, so the limit holds among bodies too."""
    stopped = asyncio.Event()
    started: list[str] = []

    async def work(name: str, worker: Worker = CurrentWorker(), limit: ConcurrencyLimit = ConcurrencyLimit()) -> None:
        started.append(worker.name)
        try:
            if len(started) == 1:
                await asyncio.Event().wait()
            assert stopped.is_set()
        finally:
            stopped.set()

    async with Docket("zombies", docket_url) as docket, Docket("zombies", docket_url) as healthy:
        healthy.register(work)
        execution = await docket.add(work)("a")
        monkeypatch.setattr(docket, "open_backend", lambda: Docket("elsewhere", docket_url).open_backend())
        async with working(docket, name="zombie", redelivery_timeout=LEASE):
            await until(lambda: started[:1] == ["zombie"])
            second = await healthy.add(work)("b")
            async with working(healthy, name="healthy", redelivery_timeout=LEASE):
                await within(execution.get_result())
                await within(second.get_result())
    assert started[0] == "zombie"
    assert len(started) >= 3
