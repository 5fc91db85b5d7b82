"""Cases 5, 6 and 17: workers are killed at any point, and whole fleets of them."""

import asyncio
import random
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from docket_core import Docket, ExecutionFailed, ExecutionState
from tests.support.fleet import Trace, block, chain, child_of, hold, step, suicide
from tests.support.nursery import Nursery
from tests.support.soak import assert_starts_are_explained
from tests.support.workers import until, within

LEASE = 1.0
QUICK = {"redelivery_timeout": LEASE, "max_deliveries": None}


async def test_a_producer_and_a_worker_in_processes_of_their_own(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    worker = children.start("tests.support.fleet:work", shared_url, QUICK)
    producer = children.start("tests.support.fleet:produce", shared_url, str(path), 200, 0.0, "task ")
    assert await asyncio.to_thread(producer.wait) == 0
    for number in range(200):
        execution = await docket.get_execution(f"task {number}")
        assert execution is not None
        assert await within(execution.get_result()) == worker.pid
    assert sorted(traced.by_key("start")) == sorted(f"task {number}" for number in range(200))
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait) == 0


async def test_case_05_a_killed_workers_tasks_start_again_in_time(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace, tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"
    first = children.start("tests.support.fleet:work", shared_url, QUICK | {"concurrency": 3})
    executions = [await docket.add(hold, key=f"k{number}")(str(path), str(go_on)) for number in range(3)]
    await until(lambda: len(traced.lines("start")) == 3)
    children.start("tests.support.fleet:work", shared_url, QUICK)
    first.kill()
    killed = asyncio.get_running_loop().time()
    await until(lambda: len(traced.lines("start")) == 6)
    assert asyncio.get_running_loop().time() - killed < LEASE + 1.5
    go_on.touch()
    for execution in executions:
        assert await within(execution.get_result()) != str(first.pid)
    assert all(len(starts) == 2 for starts in traced.by_key("start").values())
    assert all(len(ends) == 1 for ends in traced.by_key("end").values())


@pytest.mark.parametrize("delay", [0.0, 0.05])
async def test_case_05_killed_anywhere_between_claim_and_ack(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace, delay: float
) -> None:
    """A worker is killed at a random moment; the task ends once, whatever was going on."""
    executions = [await docket.add(step, key=f"k{number}")(str(path), 0.01) for number in range(60)]
    doomed = children.start("tests.support.fleet:work", shared_url, QUICK | {"concurrency": 5})
    await until(lambda: len(traced.lines()) > 0)
    await asyncio.sleep(delay)
    doomed.kill()
    children.start("tests.support.fleet:work", shared_url, QUICK)
    for execution in executions:
        await within(execution.get_result())
    assert_starts_are_explained(traced, {doomed.pid})


async def test_case_05_a_whole_fleet_is_killed_with_a_large_backlog(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    docket.register(step)
    await docket.add_many([docket.call(step, key=f"k{number}")(str(path), 30.0) for number in range(300)])
    await docket.add_many([docket.call(step, key=f"later {number}")(str(path), 0.0) for number in range(1000)])
    fleet = [children.start("tests.support.fleet:work", shared_url, QUICK | {"concurrency": 100}) for _ in range(3)]
    await until(lambda: len(traced.by_key("start")) >= 300)
    for worker in fleet:
        worker.kill()
    for number in range(300):
        await docket.cancel(f"k{number}")
    children.start("tests.support.fleet:work", shared_url, QUICK | {"concurrency": 50})
    await until(lambda: sum(key.startswith("later") for key in traced.by_key("end")) == 1000, 40)
    assert sum(len(starts) > 1 for starts in traced.by_key("start").values()) == 0


async def test_case_06_a_task_that_kills_its_process_is_given_up_and_the_others_go_on(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    """Its neighbours are lost with it, but they are not given up in its place: a suspect is run alone."""
    options = {"redelivery_timeout": 0.5, "max_deliveries": 3, "concurrency": 5}
    poison = await docket.add(suicide, key="poison")(str(path))
    healthy = [await docket.add(step, key=f"k{number}")(str(path), 0.01) for number in range(20)]
    fleet = [children.start("tests.support.fleet:work", shared_url, options)]
    waiting = asyncio.create_task(poison.get_result())
    async with asyncio.timeout(30):
        while not waiting.done():
            if fleet[-1].ended.is_set():
                fleet.append(children.start("tests.support.fleet:work", shared_url, options))
            await asyncio.sleep(0.02)
    with pytest.raises(ExecutionFailed, match="granted 3 times"):
        await waiting
    assert len(traced.by_key("start")["poison"]) == 3
    record = (await docket.backend.get(["poison"]))[0]
    assert record is not None
    assert record.last is not None
    assert record.last.reason == "poison"
    for execution in healthy:
        await within(execution.get_result())
    assert [child.status for child in fleet[:3]] == [-9, -9, -9]


async def test_case_17_a_chain_survives_its_workers(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    """Killed at each step from claim to ack: exactly one successor, with the newest arguments."""
    await docket.add(chain, key="chain")(str(path), 0)
    killed: set[int] = set()
    worker = children.start("tests.support.fleet:work", shared_url, QUICK | {"redelivery_timeout": 0.3})
    for _ in range(5):
        seen = len(traced.lines())
        await until(lambda seen=seen: len(traced.lines()) > seen + 3)  # type: ignore[misc]
        await asyncio.sleep(random.uniform(0, 0.05))
        worker.kill()
        killed.add(worker.pid)
        worker = children.start("tests.support.fleet:work", shared_url, QUICK | {"redelivery_timeout": 0.3})
    seen = len(traced.lines())
    await until(lambda: len(traced.lines()) > seen + 3)
    worker.send(signal.SIGTERM)
    await asyncio.to_thread(worker.wait)
    numbers = [int(line.detail) for line in sorted(traced.lines("start"), key=lambda line: line.token)]
    assert sorted(set(numbers)) == list(range(max(numbers) + 1))  # none is left out
    assert numbers == sorted(numbers)  # none goes back
    assert len(numbers) - len(set(numbers)) <= len(killed)
    snapshot = await docket.snapshot()
    assert snapshot.total_tasks == 1
    assert snapshot.future[0].args == (str(path), max(numbers) + 1)


async def test_case_20_tasks_that_a_killed_task_added_are_there_once(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    for number in range(40):
        await docket.add(child_of, key=f"p{number}")(str(path))
    doomed = children.start("tests.support.fleet:work", shared_url, QUICK)
    await until(lambda: len(traced.lines()) > 5)
    doomed.kill()
    children.start("tests.support.fleet:work", shared_url, QUICK)
    await until(lambda: len(traced.by_key("end")) == 40)
    for number in range(40):
        child = await docket.get_execution(f"child of p{number}")
        assert child is not None
        await within(child.get_result())
        assert child.state is ExecutionState.COMPLETED


async def test_case_04_a_body_that_blocks_the_loop_for_two_leases_runs_once(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    first = children.start("tests.support.fleet:work", shared_url, QUICK)
    execution = await docket.add(block, key="k")(str(path), 2.5 * LEASE)
    await until(lambda: len(traced.lines("start")) == 1)
    children.start("tests.support.fleet:work", shared_url, QUICK)
    assert await within(execution.get_result(timeout=timedelta(seconds=20))) == first.pid
    assert len(traced.lines("start")) == 1
