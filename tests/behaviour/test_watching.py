"""Following a run: progress, subscriptions and snapshots."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docket_core import Docket, Execution, ExecutionProgress, ExecutionState, Progress, Retry
from docket_core.backend.protocol import Backend, Subscription
from docket_core.backend.records import Event, StateChanged, Topic
from tests.support.away import AwayBackend, Switches
from tests.support.workers import Signal, until_async, within, work_off, working

begun: Signal
go_on: Signal


@pytest.fixture(autouse=True)
async def signals() -> None:
    global begun, go_on
    begun, go_on = Signal(), Signal()


async def load(steps: int, progress: ExecutionProgress = Progress()) -> int:
    await progress.set_total(steps)
    begun.give()
    await go_on.seen()
    for step in range(steps):
        await progress.increment()
        await progress.set_message(f"step {step + 1}")
    await progress.set_message(None)
    return steps


class StartUnheard:
    """A subscription that does not hear of starts, as one that began at the same moment."""

    def __init__(self, inner: Subscription) -> None:
        self._inner = inner
        self.watch = inner.watch
        self.unwatch = inner.unwatch

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        async for event in self._inner:
            if not (isinstance(event, StateChanged) and event.state is ExecutionState.RUNNING):
                yield event


class StartUnheardBackend(AwayBackend):
    @asynccontextmanager
    async def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AsyncGenerator[Subscription, None]:
        async with super().subscribe(topics, keys) as subscription:
            deaf: Any = StartUnheard(subscription)
            yield deaf


class StartUnheardDocket(Docket):
    def open_backend(self) -> Backend:
        backend: Any = StartUnheardBackend(super().open_backend(), Switches())
        return backend  # type: ignore[no-any-return]


async def collect(execution: Execution, ready: asyncio.Event) -> list[Any]:
    return [event async for event in execution.subscribe(ready=ready)]


async def test_a_subscriber_sees_states_and_progress_to_the_end(docket: Docket, other: Docket) -> None:
    execution = await docket.add(load, key="k")(3)
    elsewhere = await other.get_execution("k")
    assert elsewhere is not None
    ready = asyncio.Event()
    collecting = asyncio.create_task(collect(elsewhere, ready))
    await within(ready.wait())
    async with working(docket, name="w"):
        await begun.seen()
        await until_async(lambda: has_total(other))
        go_on.give()
        events = await within(collecting)
    states = [event["state"] for event in events if event["type"] == "state"]
    assert states[0] is ExecutionState.QUEUED
    assert states[-1] is ExecutionState.COMPLETED
    assert states == sorted(set(states), key=list(ExecutionState).index)
    last = events[-1]
    assert (last["key"], last["worker"], last["error"]) == ("k", "w", None)
    assert last["started_at"] <= last["completed_at"]
    progress = [event for event in events if event["type"] == "progress"]
    assert progress
    currents = [event["current"] for event in progress]
    assert currents == sorted(currents)
    assert {event["total"] for event in progress} == {3}
    assert await execution.get_result() == 3


async def has_total(docket: Docket) -> bool:
    execution = await docket.get_execution("k")
    return execution is not None and execution.progress.total is not None


async def test_who_comes_late_sees_what_is_so_now_first(docket: Docket) -> None:
    async with working(docket):
        execution = await docket.add(load, key="k")(2)
        await begun.seen()
        await until_async(lambda: has_total(docket))
        events = execution.subscribe()
        first, second = await within(anext(events)), await within(anext(events))
        assert (first["type"], second["type"]) == ("state", "progress")
        assert first["type"] == "state"
        assert first["state"] is ExecutionState.RUNNING
        go_on.give()
        rest = [event async for event in events]
        assert rest[-1]["type"] == "state"


async def test_after_the_end_there_is_one_event(docket: Docket) -> None:
    go_on.give()
    execution = await docket.add(load)(1)
    await work_off(docket)
    events = await within(collect(execution, asyncio.Event()))
    assert [event.get("state") for event in events] == [ExecutionState.COMPLETED]


async def test_a_subscription_to_a_replaced_run_ends(docket: Docket) -> None:
    old = await docket.add(load, when=timedelta(hours=1), key="k")(1)
    ready = asyncio.Event()
    collecting = asyncio.create_task(collect(old, ready))
    await within(ready.wait())
    await docket.replace(load, timedelta(hours=2), "k")(1)
    events = await within(collecting, 5)
    assert [event["state"] for event in events] == [ExecutionState.SCHEDULED]


async def test_progress_alone_can_be_followed(docket: Docket) -> None:
    execution = await docket.add(load)(3)
    ready = asyncio.Event()

    async def follow() -> list[Any]:
        return [event async for event in execution.progress.subscribe(ready=ready)]

    following = asyncio.create_task(follow())
    await within(ready.wait())
    go_on.give()
    async with working(docket):
        events = await within(following)
    assert {event["type"] for event in events} == {"progress"}


async def test_progress_is_shown_while_it_runs_and_gone_at_the_end(docket: Docket, other: Docket) -> None:
    async with working(docket):
        await docket.add(load, key="k")(5)
        await begun.seen()
        await until_async(lambda: has_total(other))
        elsewhere = await other.get_execution("k")
        assert elsewhere is not None
        assert (elsewhere.progress.current, elsewhere.progress.total) == (0, 5)
        assert elsewhere.progress.updated_at is not None
        with pytest.raises(RuntimeError, match="only the running task"):
            await elsewhere.progress.increment()
        go_on.give()
        assert await within(elsewhere.get_result()) == 5
    await elsewhere.progress.sync()
    assert (elsewhere.progress.current, elsewhere.progress.total, elsewhere.progress.message) == (0, None, None)


async def test_increments_of_one_moment_add_up(docket: Docket) -> None:
    async def count(progress: ExecutionProgress = Progress()) -> int:
        await asyncio.gather(*(progress.increment(amount) for amount in range(1, 101)))
        await progress.sync()
        return progress.current

    execution = await docket.add(count)()
    await work_off(docket)
    assert await execution.get_result() == 5050


async def test_every_try_begins_with_no_progress(docket: Docket) -> None:
    seen: list[int] = []

    async def flaky(progress: ExecutionProgress = Progress(), retry: Retry = Retry(attempts=2)) -> None:
        await progress.sync()
        seen.append(progress.current)
        await progress.increment(10)
        raise ValueError

    await docket.add(flaky)()
    await work_off(docket)
    assert seen == [0, 0]


@pytest.mark.parametrize("call", ["set_total", "increment"])
async def test_a_progress_that_makes_no_sense_is_refused(docket: Docket, call: str) -> None:
    async def task(progress: ExecutionProgress = Progress()) -> None:
        await getattr(progress, call)(0)

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(ValueError, match="at least 1"):
        await execution.get_result()


async def test_a_snapshot_shows_what_stands_there(docket: Docket, other: Docket) -> None:
    other.register(load)
    await other.add(load, when=timedelta(hours=2), key="later")(1)
    await other.add(load, when=timedelta(hours=1), key="soon")(1)
    async with working(docket, name="w", concurrency=1):
        await docket.add(load, key="running")(1)
        await begun.seen()
        await docket.add(load, key="waits")(1)
        snapshot = await other.snapshot()
        go_on.give()
    assert snapshot.total_tasks == 4
    assert [execution.key for execution in snapshot.future] == ["waits", "soon", "later"]
    assert [execution.state.value for execution in snapshot.future] == ["queued", "scheduled", "scheduled"]
    (running,) = snapshot.running
    assert (running.key, running.worker, running.args) == ("running", "w", (1,))
    assert running.started <= snapshot.taken <= datetime.now(UTC) + timedelta(seconds=1)
    assert [info.name for info in snapshot.workers] == ["w"]


async def test_a_snapshot_is_bounded_and_its_totals_are_exact(docket: Docket) -> None:
    docket.register(load)
    await docket.add_many([docket.call(load, when=timedelta(hours=1))(1) for _ in range(1200)])
    snapshot = await docket.snapshot()
    assert (snapshot.total_tasks, len(snapshot.future)) == (1200, 1000)


async def test_what_nobody_knows_is_left_and_shown(docket: Docket, other: Docket) -> None:
    execution = await other.add(load)(1)
    await work_off(docket)
    assert (await docket.snapshot()).unknown == {"load": 1}
    found = await docket.get_execution(execution.key)
    assert found is not None
    assert (found.function_name, found.args, found.state) == ("load", (1,), ExecutionState.QUEUED)


async def test_a_fallback_takes_what_nobody_knows(docket: Docket, other: Docket) -> None:
    taken: list[Any] = []

    async def fallback(*args: Any, **kwargs: Any) -> str:
        from docket_core.dependencies import current_execution

        taken.append((current_execution.get().function_name, args, kwargs))
        return "taken"

    execution = await other.add(load)(1)
    known = await docket.add("sleep")(0)
    await work_off(docket, fallback_task=fallback)
    assert await execution.get_result() == "taken"
    assert await known.get_result() is None
    assert taken == [("load", (1,), {})]


async def test_the_default_fallback_logs_and_drops(
    docket: Docket, other: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    execution = await other.add(load)(1)
    await work_off(docket, fallback_task="docket_core.worker:default_fallback_task")
    assert await execution.get_result() is None
    assert "load" in caplog.text


async def test_progress_is_not_told_of_a_run_whose_start_was_not(docket: Docket, docket_url: str) -> None:
    """Even where the event of the start was lost, and progress comes too often for the poller's turn."""
    execution = await docket.add(load, key="k")(3)
    async with StartUnheardDocket(docket.name, docket_url) as deaf:
        elsewhere = await deaf.get_execution("k")
        assert elsewhere is not None
        ready = asyncio.Event()
        collecting = asyncio.create_task(collect(elsewhere, ready))
        await within(ready.wait())
        async with working(docket, name="w"):
            go_on.give()
            events = await within(collecting)
    assert execution.key == "k"
    told = [event["state"].value if event["type"] == "state" else "progress" for event in events]
    assert told[0] == "queued"
    assert "progress" not in told or told.index("running") < told.index("progress")
    assert told[-1] == "completed"
