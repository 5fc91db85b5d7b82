"""Short tasks are claimed ahead of free slots, in batches; long ones are not, and what waits too long is given back."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from docket_core import Docket, ExecutionCancelled, ExecutionState, Worker
from docket_core.backend.model import Ack, Acked, Claimed, Verdict
from docket_core.worker.pace import IN_HAND, MOMENT, Pace
from tests.support.workers import Signal, until, within, work_off, working

LONG = timedelta(minutes=10)
door = Signal()
begun: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    global door  # noqa: PLW0603 - the task functions reach it, and each test has its own
    door = Signal()
    begun.clear()


async def short(name: str) -> None:
    begun.append(name)


async def long(name: str) -> str:
    begun.append(name)
    await door.seen()
    return name


class Watched(Worker):
    """Keeps what its claims brought."""

    def __init__(self, docket: Docket, **options: Any) -> None:
        super().__init__(docket, **options)
        self.claimed: list[Claimed] = []
        claim = docket.backend.claim

        async def watched(worker: str, *arguments: Any) -> Claimed:
            claimed = await claim(worker, *arguments)
            if worker == self.name:
                self.claimed.append(claimed)
            return claimed

        docket.backend.claim = watched  # type: ignore[method-assign, assignment]


async def fill(docket: Docket, shorts: int, longs: int = 0) -> None:
    """So many short tasks, then so many long ones, in this order."""
    await docket.add_many(docket.call(short, key=f"short-{n}")(f"short-{n}") for n in range(shorts))
    await docket.add_many(docket.call(long, key=f"long-{n}")(f"long-{n}") for n in range(longs))


async def test_short_tasks_come_in_batches_whatever_the_concurrency(docket: Docket) -> None:
    await fill(docket, 600)
    async with Watched(docket, concurrency=1) as worker:
        await within(worker.run_until_finished())
    assert begun == [f"short-{n}" for n in range(600)]
    assert len([claimed for claimed in worker.claimed if claimed.claims]) < 300


async def test_no_more_run_at_a_time_than_there_are_slots(docket: Docket) -> None:
    most = inside = 0

    async def counted(number: int) -> None:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1

    await docket.add_many(docket.call(counted)(number) for number in range(300))
    await work_off(docket, concurrency=3)
    assert most == 3


@pytest.fixture
def optimistic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that expect short tasks, until they have had to give some back."""

    def ahead(self: Pace) -> int:
        return 0 if getattr(self, "disappointed", False) else 5

    def stalled(self: Pace) -> None:
        monkeypatch.setattr(self, "disappointed", True, raising=False)

    monkeypatch.setattr(Pace, "ahead", ahead)
    monkeypatch.setattr(Pace, "stalled", stalled)


@pytest.mark.usefixtures("optimistic")
async def test_what_waits_too_long_is_given_back_and_counts_no_delivery(docket: Docket, other: Docket) -> None:
    other.register(long)
    await fill(docket, 0, 6)
    async with working(docket, name="slow", concurrency=1, redelivery_timeout=LONG):
        await until(lambda: begun == ["long-0"])
        async with working(other, name="quick", concurrency=5, redelivery_timeout=LONG):
            await until(lambda: len(begun) == 6)
            found = [await other.get_execution(f"long-{n}") for n in range(6)]
            door.give()
    assert Counter(execution.worker for execution in found if execution is not None) == {"slow": 1, "quick": 5}
    assert not any(execution.redelivered for execution in found if execution is not None)


@pytest.mark.usefixtures("optimistic")
async def test_nothing_passes_what_is_being_given_back(docket: Docket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot is free before the store has answered that it took them back."""
    ack = docket.backend.ack

    async def slow(acks: Sequence[Ack]) -> Sequence[Acked]:
        if all(item.verdict is Verdict.RELEASE for item in acks):
            door.give()
            with suppress(TimeoutError):
                await until(lambda: len(begun) > 1, 0.2)
        return await ack(acks)

    monkeypatch.setattr(docket.backend, "ack", slow)
    await fill(docket, 0, 12)
    await work_off(docket, concurrency=1, redelivery_timeout=LONG)
    assert begun == [f"long-{n}" for n in range(12)]


@pytest.mark.usefixtures("optimistic")
async def test_a_worker_that_leaves_gives_back_what_it_has_not_begun(docket: Docket) -> None:
    await fill(docket, 0, 6)
    async with Watched(docket, concurrency=1, redelivery_timeout=LONG) as worker:
        running = asyncio.create_task(worker.run_forever())
        await until(lambda: begun == ["long-0"])
        assert len(worker.claimed[0].claims) == 6
        worker.stop()
        door.give()
        await within(running)
    assert begun == ["long-0"]
    await work_off(docket)  # would wait ten minutes for an orphan
    assert sorted(begun) == [f"long-{n}" for n in range(6)]


@pytest.mark.usefixtures("optimistic")
async def test_one_that_is_cancelled_before_it_begins_never_runs(docket: Docket) -> None:
    await fill(docket, 0, 2)
    execution = await docket.get_execution("long-1")
    assert execution is not None
    async with Watched(docket, concurrency=1, redelivery_timeout=LONG) as worker:
        running = asyncio.create_task(worker.run_forever())
        await until(lambda: begun == ["long-0"])
        await docket.cancel("long-1")
        with pytest.raises(ExecutionCancelled):
            await within(execution.get_result())
        door.give()
        worker.stop()
        await within(running)
    assert begun == ["long-0"]
    assert execution.state is ExecutionState.CANCELLED


@pytest.mark.parametrize(("slots", "most"), [(1, IN_HAND - 1), (IN_HAND, IN_HAND // 2)])
def test_the_pace_is_what_was_done_lately(slots: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("docket_core.worker.pace.time.monotonic", lambda: now)
    pace = Pace(slots)
    assert pace.ahead() == 0
    for _ in range(10):
        pace.ended()
    assert pace.ahead() == 0, "not yet: a moment has not passed"
    now += MOMENT
    assert pace.ahead() == 10
    now += MOMENT
    assert pace.ahead() == 0, "nothing has ended since"
    for _ in range(10 * IN_HAND):
        pace.ended()
    now += MOMENT
    assert pace.ahead() == most
    pace.stalled()
    assert pace.ahead() == 0
