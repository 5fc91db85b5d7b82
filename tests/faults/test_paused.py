"""Cases 3, 13, 14 and 16 with processes: a worker that sleeps beyond its lease, and many who want one key."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from docket_core import Docket, ExecutionCancelled, ExecutionSuperseded
from docket_core.backend.model import CancelReply
from tests.support.fleet import Trace, hold, step
from tests.support.nursery import Child, Nursery
from tests.support.workers import until, until_async, within

OPTIONS = {"redelivery_timeout": 1.0}


async def test_case_03_a_worker_paused_beyond_its_lease_changes_nothing_when_it_comes_back(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace, tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"
    sleeper = children.start("tests.support.fleet:work", shared_url, OPTIONS)
    execution = await docket.add(hold, key="k")(str(path), str(go_on))
    await until_async(lambda: progressed(docket, 1))
    await pause(sleeper, docket)
    other = children.start("tests.support.fleet:work", shared_url, OPTIONS)
    await until(lambda: len(traced.lines("start")) == 2)
    await until_async(lambda: progressed(docket, 1))
    sleeper.resume()
    await until(lambda: {line.what for line in traced.lines() if line.pid == sleeper.pid} == {"start", "cancelled"})
    await execution.progress.sync()
    assert execution.progress.current == 1  # the one of the other: what the first did counts for nothing
    go_on.touch()
    assert await within(execution.get_result()) == str(other.pid)
    first, second = (line.token for line in traced.lines("start"))
    assert first < second
    assert len(traced.lines("start")) == 2


async def pause(child: Child, docket: Docket) -> None:
    """Pause it while it holds no lock: one that sleeps inside a transaction keeps everybody out of some stores."""
    while True:
        child.pause()
        try:
            await within(docket.cancel("nobody"), 1)
        except TimeoutError:
            child.resume()
            await asyncio.sleep(0.1)
        else:
            return


async def progressed(docket: Docket, current: int) -> bool:
    execution = await docket.get_execution("k")
    return execution is not None and execution.progress.current == current


async def test_case_13_a_worker_that_sleeps_hears_of_a_cancel_when_it_comes_back(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace, tmp_path: Path
) -> None:
    sleeper = children.start("tests.support.fleet:work", shared_url, {"redelivery_timeout": 30.0})
    execution = await docket.add(hold, key="k")(str(path), str(tmp_path / "never"))
    await until_async(lambda: progressed(docket, 1))
    await pause(sleeper, docket)
    assert await docket.cancel("k") is CancelReply.REQUESTED
    sleeper.resume()
    with pytest.raises(ExecutionCancelled):
        await within(execution.get_result())
    assert [line.what for line in traced.lines()] == ["start", "cancelled"]


async def test_case_14_a_replaced_task_whose_worker_died_makes_way_when_its_lease_ends(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace, tmp_path: Path
) -> None:
    doomed = children.start("tests.support.fleet:work", shared_url, OPTIONS)
    old = await docket.add(hold, key="k")(str(path), str(tmp_path / "never"))
    await until(lambda: len(traced.lines("start")) == 1)
    survivor = children.start("tests.support.fleet:work", shared_url, OPTIONS)
    new = await docket.replace(step, None, "k")(str(path), 0.0)
    doomed.kill()
    assert await within(new.get_result()) == survivor.pid
    with pytest.raises(ExecutionSuperseded):
        await old.get_result()
    assert [line.pid for line in traced.lines("start")] == [doomed.pid, survivor.pid]


async def test_case_16_adders_in_many_processes_agree_on_one(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    racing = [children.start("tests.support.fleet:race", shared_url, str(path), "once", 8) for _ in range(4)]
    for child in racing:
        assert await asyncio.to_thread(child.wait) == 0
    told = [line.detail for line in traced.lines("told")]
    assert sorted(told) == ["already_scheduled"] * 31 + ["scheduled"]
    children.start("tests.support.fleet:work", shared_url, OPTIONS)
    execution = await docket.get_execution("once")
    assert execution is not None
    await within(execution.get_result(timeout=timedelta(seconds=20)))
    assert len(traced.lines("start")) == 1
