"""The docket: where it is, what goes on it, what stands on it."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from docket_core import Disposition, Docket, ExecutionState
from docket_core.backend.model import CancelReply
from docket_core.errors import ConfigurationError
from docket_core.testing import assert_task_count
from tests.support.workers import Signal, until_async, within, work_off, working

HOUR = timedelta(hours=1)


async def echo(value: object = None) -> object:
    return value


def first() -> None: ...


async def second() -> None: ...


mine = [first, second]


@pytest.mark.requirement("R-001")
def test_the_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKET_URL", "memory://from-the-environment")
    assert Docket(url="memory://given").url == "memory://given"
    assert Docket().url == "memory://from-the-environment"
    monkeypatch.delenv("DOCKET_URL")
    assert Docket().url == "sqlite:///docket.db"
    assert Docket().name == "docket"


@pytest.mark.requirement("R-002")
def test_two_functions_of_one_name() -> None:
    docket = Docket(url="memory://unused")
    docket.register(echo)
    docket.register(echo)  # the same once more is no conflict

    async def other() -> None: ...

    other.__name__ = "echo"
    with pytest.raises(ConfigurationError, match=f"{__name__}.echo and {__name__}.test_two_functions"):
        docket.register(other)
    docket.register(other, names=["other echo"])
    assert docket.tasks["other echo"] is other


@pytest.mark.requirement("R-003")
def test_a_collection() -> None:
    docket = Docket(url="memory://unused")
    docket.register_collection(f"{__name__}:mine")
    assert docket.tasks["first"] is first
    assert docket.tasks["second"] is second
    assert {"trace", "fail", "sleep"} <= docket.tasks.keys()
    for path in ("nowhere", "no_such_module_here:tasks", f"{__name__}:nothing"):
        with pytest.raises(ConfigurationError):
            docket.register_collection(path)


@pytest.mark.requirement("R-004", "R-005")
async def test_adding(docket: Docket) -> None:
    with pytest.raises(KeyError, match="no function is registered as 'echo'"):
        docket.add("echo")
    execution = await docket.add(echo)(1)
    assert docket.tasks["echo"] is echo
    assert execution.state is ExecutionState.QUEUED
    assert uuid.UUID(execution.key).version == 7
    named = await docket.add("echo", when=HOUR, key="named")(2)
    assert (named.key, named.state) == ("named", ExecutionState.SCHEDULED)
    assert abs(named.when - (datetime.now(UTC) + HOUR)) < timedelta(minutes=1)
    with pytest.raises(TypeError, match="echo.* does not take this call"):
        await docket.add(echo)(1, 2)  # type: ignore[call-arg]


@pytest.mark.requirement("R-006")
async def test_a_taken_key_is_kept(docket: Docket) -> None:
    started, go_on = Signal(), Signal()

    async def wait(name: str) -> str:
        started.give()
        await go_on.seen()
        return name

    later = await docket.add(wait, key="k", when=HOUR)("first")
    again = await docket.add(wait, key="k")("second")
    assert again.disposition is Disposition.ALREADY_SCHEDULED
    assert (again.run, again.when) == (later.run, later.when)
    await docket.replace(wait, None, "k")("now")
    assert (await docket.add(wait, key="k")("third")).disposition is Disposition.ALREADY_SCHEDULED
    async with working(docket):
        await started.seen()
        running = await docket.add(wait, key="k")("fourth")
        assert (running.disposition, running.state) == (Disposition.ALREADY_SCHEDULED, ExecutionState.RUNNING)
        go_on.give()
        assert await within(running.get_result()) == "now"
        assert (await docket.add(wait, key="k")("fifth")).disposition is Disposition.SCHEDULED


@pytest.mark.requirement("R-007", "R-019")
async def test_replacing(docket: Docket) -> None:
    started, go_on = Signal(), Signal()
    ran: list[str] = []

    async def wait(name: str) -> str:
        ran.append(name)
        started.give()
        if name == "running":
            await go_on.seen()
        return name

    await docket.add(wait, key="k", when=HOUR)("pending")
    added = await docket.replace(wait, None, "new")("added")
    replaced = await docket.replace(wait, None, "k")("running")
    assert (added.disposition, replaced.disposition) == (Disposition.SCHEDULED, Disposition.SCHEDULED)
    async with working(docket):
        await until_async(lambda: _is_running(docket, "k"))
        newer = await docket.replace(wait, None, "k")("newer")
        assert await replaced.is_superseded()
        assert "newer" not in ran
        go_on.give()
        assert await within(newer.get_result()) == "newer"
    assert ran.count("running") == 1
    assert set(ran) == {"running", "added", "newer"}


async def _is_running(docket: Docket, key: str) -> bool:
    execution = await docket.get_execution(key)
    return execution is not None and execution.state is ExecutionState.RUNNING


@pytest.mark.requirement("R-011")
async def test_cancelling(docket: Docket) -> None:
    started, stopped = Signal(), Signal()

    async def wait() -> None:
        started.give()
        try:
            await Signal().seen()
        finally:
            stopped.give()

    await docket.add(wait, key="pending", when=HOUR)()
    assert await docket.cancel("pending") is CancelReply.CANCELLED
    assert await docket.cancel("pending") is CancelReply.GONE
    running = await docket.add(wait, key="running")()
    async with working(docket):
        await started.seen()
        assert await docket.cancel("running") is CancelReply.REQUESTED
        await stopped.seen()
        await until_async(lambda: _has_ended(docket, "running"))
    await running.sync()
    assert running.state is ExecutionState.CANCELLED


async def _has_ended(docket: Docket, key: str) -> bool:
    execution = await docket.get_execution(key)
    return execution is not None and execution.completed_at is not None


@pytest.mark.requirement("R-012")
async def test_clearing(docket: Docket) -> None:
    started, go_on = Signal(), Signal()

    async def wait() -> str:
        started.give()
        await go_on.seen()
        return "untouched"

    running = await docket.add(wait)()
    async with working(docket):
        await started.seen()
        for number in range(3):
            await docket.add(echo, when=number * HOUR if number else HOUR)(number)
        assert await docket.clear() == 3
        go_on.give()
        assert await within(running.get_result()) == "untouched"
    assert await docket.clear() == 0


@pytest.mark.requirement("R-014", "R-015")
async def test_what_stands_on_it(docket: Docket, other: Docket) -> None:
    started, go_on = Signal(), Signal()

    async def wait() -> None:
        started.give()
        await go_on.seen()

    await docket.add(echo, when=2 * HOUR, key="second")(2)
    await docket.add(echo, when=HOUR, key="first")(1)
    await docket.add(wait, key="running")()
    async with working(docket, name="the worker"):
        await started.seen()
        await until_async(lambda: _knows(other, "wait"))
        snapshot = await other.snapshot()
        assert snapshot.total_tasks == 3
        assert [execution.key for execution in snapshot.future] == ["first", "second"]
        assert [execution.args for execution in snapshot.future] == [(1,), (2,)]
        (running,) = snapshot.running
        assert (running.key, running.worker) == ("running", "the worker")
        assert abs(snapshot.taken - running.started) < timedelta(minutes=1)
        (worker,) = snapshot.workers
        assert worker.name == "the worker"
        assert {"echo", "wait", "trace"} <= worker.tasks
        assert [found.name for found in await other.workers()] == ["the worker"]
        assert await other.task_workers("nobody knows") == []
        go_on.give()
    assert await other.workers() == []
    await assert_task_count(other, count=2)


async def _knows(docket: Docket, function: str) -> bool:
    return bool(await docket.task_workers(function))


@pytest.mark.requirement("R-014")
async def test_lists_are_bounded_and_totals_exact(docket: Docket) -> None:
    await docket.add_many(docket.call(echo)(number) for number in range(1050))
    snapshot = await docket.snapshot()
    assert len(snapshot.future) == 1000
    assert snapshot.total_tasks == 1050
    await docket.clear()
    await work_off(docket)
