"""Many tasks, many workers, and a hand that kills them at random: nothing is lost, nothing runs twice without cause."""

import asyncio
import random
import time
from pathlib import Path
from typing import NamedTuple

from docket_core.backend.states import State
from tests.support.fleet import Trace, open_docket
from tests.support.nursery import Child, Nursery, nursery

WORK = "tests.support.fleet:work"
PRODUCE = "tests.support.fleet:produce"


class Soaked(NamedTuple):
    """How it went."""

    tasks: int
    completed: int
    started: int
    killed: int
    seconds: float

    def __str__(self) -> str:
        again = self.started - self.tasks
        return (
            f"{self.completed:,} of {self.tasks:,} tasks completed in {self.seconds:.0f} s by workers of which "
            f"{self.killed} were killed; {again} starts were repeated, each after its worker was killed"
        )


def assert_starts_are_explained(traced: Trace, killed: set[int]) -> None:
    """Every start of a task but its last was in a process that was killed."""
    for key, starts in traced.by_key("start").items():
        early = [line.pid for line in sorted(starts, key=lambda line: line.token)[:-1]]
        assert set(early) <= killed, f"{key} was started {len(starts)} times: {starts}"


async def soak(url: str, folder: Path, *, tasks: int, workers: int, pause: float) -> Soaked:
    """Let `workers` processes run `tasks` tasks, and kill one of them at random about every `pause` seconds, or sooner,
    after a tenth of the tasks.

    Raises:
        AssertionError: a task was lost, or was started again although its worker lived.
    """
    traced = Trace(folder / "trace")
    began = time.monotonic()
    with nursery(folder) as children:
        killed = await asyncio.to_thread(_run, children, url, traced, tasks, workers, pause)
    completed = await _completed(url)
    starts = traced.by_key("start")
    keys = {f"t{number}" for number in range(tasks)}
    assert starts.keys() == keys, f"{len(keys - starts.keys())} tasks were lost"
    assert completed == tasks, f"{tasks - completed} tasks have no end"
    assert_starts_are_explained(traced, killed)
    return Soaked(tasks, completed, len(traced.lines("start")), len(killed), time.monotonic() - began)


def _run(children: Nursery, url: str, traced: Trace, tasks: int, workers: int, pause: float) -> set[int]:
    options = {"redelivery_timeout": 3.0, "max_deliveries": None, "concurrency": 20}
    producer = children.start(PRODUCE, url, str(traced.path), tasks, 0.01, "t")
    fleet: list[Child] = [children.start(WORK, url, options) for _ in range(workers)]
    killed: set[int] = set()
    ended = 0
    while ended < tasks:
        _let_run(traced, ended + tasks // 10, random.uniform(0.5, 1.5) * pause)
        doomed = fleet.pop(random.randrange(workers))
        doomed.kill()
        killed.add(doomed.pid)
        fleet.append(children.start(WORK, url, options))
        before, ended = ended, len(traced.by_key("end"))
        if ended == before and not fleet[0].ended.is_set() and len(killed) > 3 * tasks:
            raise AssertionError(f"stuck at {ended} of {tasks} tasks: {children.errors()[-2000:]}")
    assert producer.wait() == 0
    deadline = time.monotonic() + 30
    while any(child.ended.is_set() for child in fleet) and time.monotonic() < deadline:
        raise AssertionError(f"a worker ended by itself: {children.errors()[-2000:]}")
    _let_end(url, deadline)
    return killed


def _let_run(traced: Trace, enough: int, seconds: float) -> None:
    """Return after so many seconds, or once `enough` tasks have ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and len(traced.by_key("end")) < enough:
        time.sleep(0.05)


def _let_end(url: str, deadline: float) -> None:
    """What a killed worker had ended but not acked is run once more."""

    async def wait() -> None:
        async with open_docket(url) as docket:
            while (await docket.snapshot()).total_tasks and time.monotonic() < deadline:
                await asyncio.sleep(0.1)

    asyncio.run(wait())


async def _completed(url: str) -> int:
    async with open_docket(url) as docket:
        completed, after = 0, None
        while True:
            page = await docket.backend.scan({State.COMPLETED}, 1000, after)
            completed += len(page.records)
            after = page.after
            if after is None:
                return completed
