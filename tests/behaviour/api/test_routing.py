"""Tasks find the workers that know them: unknown ones wait, deployments drop nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from docket_core import CurrentExecution, Docket, Execution, ExecutionState, Perpetual, Worker
from docket_core.errors import ConfigurationError
from docket_core.testing import assert_task_count
from tests.support.moments import Log, passed
from tests.support.workers import until, within, work_off, working


async def known() -> str:
    return "known"


async def novel(value: int = 1) -> int:
    return value


@pytest.mark.requirement("R-029", "R-026")
async def test_an_unknown_task_waits_for_a_worker_that_knows_it(docket: Docket, other: Docket) -> None:
    waiting = await docket.add(novel)(41)
    ready = await docket.add(known)()
    other.register(known)
    await work_off(other)  # it ends though there is something left, since it is nothing it could do
    assert await ready.get_result() == "known"
    await waiting.sync()
    assert waiting.state is ExecutionState.QUEUED
    await work_off(docket)
    assert await waiting.get_result() == 41


@pytest.mark.requirement("R-029", "R-014")
async def test_what_no_worker_knows_is_visible(docket: Docket, other: Docket) -> None:
    for value in range(3):
        await docket.add(novel, when=timedelta(hours=value))(value)
    await docket.add(known, when=timedelta(hours=1))()
    assert (await docket.snapshot()).unknown == {"novel": 3, "known": 1}
    other.register(known)
    async with working(other):
        while not await other.task_workers("known"):
            await asyncio.sleep(0.005)
        assert (await docket.snapshot()).unknown == {"novel": 3}
        async with working(docket, name="knows both"):
            while not await docket.task_workers("novel"):
                await asyncio.sleep(0.005)
            snapshot = await docket.snapshot()
            assert snapshot.unknown == {}
            assert {worker.name for worker in snapshot.workers} >= {"knows both"}


@pytest.mark.requirement("R-013")
async def test_a_placeholder_stands_for_a_function_that_is_not_known_here(docket: Docket, other: Docket) -> None:
    await docket.add(novel, key="novel", when=timedelta(hours=1))(41)
    execution = await other.get_execution("novel")
    assert execution is not None
    assert execution.function_name == "novel"
    assert execution.args == (41,)
    assert execution.call_repr() == "novel(...)"
    with pytest.raises(KeyError, match="no function is registered as 'novel'"):
        await execution.function()
    assert [found.call_repr() for found in (await other.snapshot()).future] == ["novel(...)"]


@pytest.mark.requirement("R-030")
async def test_a_fallback_takes_what_nobody_here_knows(docket: Docket, other: Docket) -> None:
    taken: list[tuple[Any, ...]] = []

    async def fallback(*args: Any, execution: Execution = CurrentExecution(), **kwargs: Any) -> str:
        taken.append((execution.function_name, args, kwargs))
        return "handled"

    waiting = await docket.add(novel)(value=41)
    ready = await docket.add(known)()
    other.register(known)
    await work_off(other, fallback_task=fallback)
    assert await waiting.get_result() == "handled"
    assert await ready.get_result() == "known"
    assert taken == [("novel", (), {"value": 41})]


async def path_fallback(*args: Any, **kwargs: Any) -> str:
    return f"{args} {kwargs}"


@pytest.mark.requirement("R-030")
async def test_a_fallback_is_found_by_its_path(docket: Docket, other: Docket) -> None:
    waiting = await docket.add(novel)(41)
    await work_off(other, fallback_task=f"{__name__}:path_fallback")
    assert await waiting.get_result() == "(41,) {}"


@pytest.mark.requirement("R-030")
async def test_the_default_fallback_logs_and_drops(
    docket: Docket, other: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = await docket.add(novel, key="novel 41")(41)
    await work_off(other, fallback_task="docket_core.worker:default_fallback_task")
    assert await waiting.get_result() is None
    assert "dropped the task 'novel 41': nobody here knows the function novel" in caplog.text


@pytest.mark.requirement("R-030")
async def test_a_fallback_that_fails_fails_the_task(docket: Docket, other: Docket) -> None:
    async def fallback(*args: Any, **kwargs: Any) -> None:
        raise LookupError("really unknown")

    waiting = await docket.add(novel)(41)
    await work_off(other, fallback_task=fallback)
    with pytest.raises(LookupError, match="really unknown"):
        await waiting.get_result()


@pytest.mark.requirement("R-030")
@pytest.mark.parametrize("path", ["nothing", "no_such_module_here:f", f"{__name__}:nothing"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError):
        Worker(Docket(url="memory://unused"), fallback_task=path)


@pytest.mark.requirement("R-031")
async def test_a_rolling_deploy_drops_nothing_and_severs_no_chain(docket: Docket, other: Docket) -> None:
    """Old and new workers side by side; each knows one task that the other does not, and a chain of its own."""
    done: list[str] = []
    beats = {"old": 0, "new": 0, "both": 0}

    async def retired(name: str) -> None:
        done.append(name)

    async def shared(name: str) -> None:
        done.append(name)

    async def introduced(name: str) -> None:
        done.append(name)

    async def old_beat(perpetual: Perpetual = Perpetual(automatic=True)) -> None:
        beats["old"] += 1

    async def new_beat(perpetual: Perpetual = Perpetual(automatic=True)) -> None:
        beats["new"] += 1

    async def beat(perpetual: Perpetual = Perpetual(automatic=True)) -> None:
        beats["both"] += 1

    for task in (retired, shared, old_beat, beat):
        docket.register(task)
    for task in (introduced, shared, new_beat, beat):
        other.register(task)
    names = [f"{kind} {number}" for number in range(30) for kind in ("retired", "shared", "introduced")]
    async with working(docket, name="old", concurrency=3):
        await docket.add_many(docket.call(retired)(name) for name in names if name.startswith("retired"))
        async with working(other, name="new", concurrency=3):
            await other.add_many(other.call(introduced)(name) for name in names if name.startswith("introduced"))
            await docket.add_many(docket.call(shared)(name) for name in names if name.startswith("shared"))
            await until(lambda: len(done) == 90 and min(beats.values()) > 3)
        for name in beats:
            beats[name] = 0
        await until(lambda: beats["old"] > 3 and beats["both"] > 3)
    assert sorted(done) == sorted(names)
    snapshot = await other.snapshot()
    assert sorted(execution.key for execution in snapshot.future) == ["beat", "new_beat", "old_beat"]


@pytest.mark.requirement("R-029")
async def test_a_function_registered_under_two_names_is_known_by_both(docket: Docket, other: Docket) -> None:
    docket.register(novel, names=["first", "second"])
    other.register(novel, names=["second"])
    one = await docket.add("first")(1)
    two = await docket.add("second")(2)
    await work_off(other)
    assert await two.get_result() == 2
    await assert_task_count(docket, count=1)
    await work_off(docket)
    assert await one.get_result() == 1


@pytest.mark.requirement("R-028")
async def test_no_task_starts_before_its_time(moving: Docket) -> None:
    log = Log(moving)

    async def note(name: str) -> None:
        log.note(name)

    for seconds in (30, 10, 20):
        await moving.add(note, when=timedelta(seconds=seconds))(f"due at {seconds}")
    async with working(moving):
        await within(passed(moving.clock, 9.999))
        assert log.notes == []
        await within(passed(moving.clock, 30))
    assert log.notes == [(10, "due at 10"), (20, "due at 20"), (30, "due at 30")]
