"""Case 27 with processes: SIGTERM under load lets tasks end, twice gives them back."""

import asyncio
import signal
from pathlib import Path

from docket_core import Docket, ExecutionState
from tests.support.fleet import Trace, hold, step
from tests.support.nursery import Nursery
from tests.support.workers import until, within

OPTIONS = {"redelivery_timeout": 600.0, "concurrency": 4}


async def test_case_27_sigterm_under_load_drains(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace
) -> None:
    docket.register(step)
    await docket.add_many([docket.call(step, key=f"k{number}")(str(path), 0.05) for number in range(200)])
    worker = children.start("tests.support.fleet:work", shared_url, OPTIONS)
    await until(lambda: len(traced.lines("end")) > 10)
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait) == 0
    assert traced.by_key("start").keys() == traced.by_key("end").keys()
    snapshot = await docket.snapshot()
    assert snapshot.running == []
    assert snapshot.total_tasks == 200 - len(traced.by_key("end")) > 0
    assert snapshot.workers == []


async def test_case_27_sigterm_twice_leaves_at_once(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace, tmp_path: Path
) -> None:
    go_on = tmp_path / "go on"
    worker = children.start("tests.support.fleet:work", shared_url, OPTIONS)
    execution = await docket.add(hold, key="k")(str(path), str(go_on))
    await until(lambda: len(traced.lines("start")) == 1)
    worker.send(signal.SIGTERM)
    await asyncio.sleep(0.3)
    assert not worker.ended.is_set()
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 5) == 7
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED  # given back, and no attempt used up
    go_on.touch()
    children.start("tests.support.fleet:work", shared_url, OPTIONS | {"max_deliveries": 1})
    await within(execution.get_result())


async def test_case_27_within_the_grace_what_is_due_in_an_hour_stays(
    docket: Docket, shared_url: str, children: Nursery, path: Path, traced: Trace, tmp_path: Path
) -> None:
    from datetime import timedelta

    worker = children.start("tests.support.fleet:work", shared_url, OPTIONS | {"shutdown_grace": 0.5})
    later = await docket.add(step, when=timedelta(hours=1))(str(path), 0.0)
    held = await docket.add(hold, key="k")(str(path), str(tmp_path / "never"))
    await until(lambda: len(traced.lines("start")) == 1)
    began = asyncio.get_running_loop().time()
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait) == 0
    assert 0.5 <= asyncio.get_running_loop().time() - began < 3
    await held.sync()
    await later.sync()
    assert (held.state, later.state) == (ExecutionState.QUEUED, ExecutionState.SCHEDULED)
