"""Case 1: a worker that ends early orphans no claim."""

import asyncio
from datetime import timedelta

import pytest

from docket_core import Docket, ExecutionState, Worker
from docket_core.backend.model import Claim
from docket_core.worker.run import Stop
from tests.support.workers import within, work_off

runs: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    runs.clear()


async def give(value: object) -> object:
    runs.append(str(value))
    return value


@pytest.mark.parametrize("turns", [*range(24), 30, 40, 60])
async def test_case_01_a_loop_that_ends_early_orphans_no_claim(docket: Docket, turns: int) -> None:
    """Told to leave at once at any moment: what it has claimed has run, or can be claimed again at once."""
    docket.register(give)
    await docket.add_many([docket.call(give)(number) for number in range(10)])
    async with Worker(docket, concurrency=4, redelivery_timeout=timedelta(minutes=10)) as worker:
        running = asyncio.create_task(worker.run_forever())
        for _ in range(turns):
            await asyncio.sleep(0)
        worker.stop()
        worker.stop()
        await within(running)
    assert (await docket.snapshot()).running == []
    await work_off(docket)  # would wait ten minutes for an orphan
    assert sorted(runs) == sorted(str(number) for number in range(10))


@pytest.mark.parametrize("turns", [*range(1, 16, 2), 20, 30])
async def test_case_01_a_cancelled_loop_orphans_no_claim(docket: Docket, turns: int) -> None:
    docket.register(give)
    await docket.add_many([docket.call(give)(number) for number in range(10)])
    async with Worker(docket, concurrency=4, redelivery_timeout=timedelta(minutes=10)) as worker:
        running = asyncio.create_task(worker.run_forever())
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
    await work_off(docket)
    assert sorted(runs) == sorted(str(number) for number in range(10))


async def test_case_01_a_task_cancelled_before_its_first_step_is_given_back(docket: Docket) -> None:
    """The word to leave comes in the same turn of the loop as the claim."""
    execution = await docket.add(give, key="k")(1)

    class Hasty(Worker):
        def begin(self, claim: Claim, confirmed_until: float) -> None:
            super().begin(claim, confirmed_until)
            self.stop_run(claim.token, Stop.SHUTDOWN)
            self.stop()

    async with Hasty(docket, redelivery_timeout=timedelta(minutes=10)) as worker:
        await within(worker.run_forever())
    await execution.sync()
    assert (runs, execution.state) == ([], ExecutionState.QUEUED)
    await work_off(docket)
    assert runs == ["1"]


async def test_case_01_a_loop_whose_tasks_are_all_cancelled_gives_back_what_has_not_begun(docket: Docket) -> None:
    """As the end of `asyncio.run` does it, in the turn of the loop in which they get their tasks."""
    execution = await docket.add(give, key="k")(1)

    class Ended(Worker):
        def begin(self, claim: Claim, confirmed_until: float) -> None:
            before = asyncio.all_tasks()
            super().begin(claim, confirmed_until)
            asyncio.get_running_loop().call_soon(self.cancel_but, before)

        def cancel_but(self, before: set[asyncio.Task[object]]) -> None:
            for task in (*(asyncio.all_tasks() - before), running):
                task.cancel()

    async with Ended(docket, redelivery_timeout=timedelta(minutes=10)) as worker:
        running = asyncio.create_task(worker.run_forever())
        await within(asyncio.wait([running]))
    await execution.sync()
    assert (runs, execution.state) == ([], ExecutionState.QUEUED)
    await work_off(docket)
    assert runs == ["1"]
