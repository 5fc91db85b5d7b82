"""Scenarios of throughput: adding, and draining a backlog."""

import asyncio
from typing import Any

from docket_core.bench.contestants import Field
from docket_core.bench.scale import Figures, Run, Scale, Scenario


def _adding(how: str, metric: str) -> Run:
    async def run(field: Field, scale: Scale) -> Figures:
        producer = await field.producer()
        done = await producer("add", how=how, seconds=scale.seconds)
        return {metric: done["count"] / done["seconds"]}

    return run


async def drain(field: Field, count: int, concurrency: int, processes: int = 1, **options: Any) -> float:
    """Tasks per second, from the first body's start until all are recorded as done.

    Where a contestant cannot be asked what is recorded, until the last body's start.
    """
    field.room(count)
    producer = await field.producer()
    await producer("fill", first=0, count=count)
    workers = await field.workers(processes)
    await asyncio.gather(*(worker("work", concurrency=concurrency, options=dict(options)) for worker in workers))
    await field.all_started(count)
    settled = await producer("settled")
    times = field.marks.all()
    last = max(times)
    end = max(settled["at"], last) if settled["recorded"] else last
    return count / max(end - min(times), 1e-6)


def _draining(concurrency: int, metric: str, processes: int = 1) -> Run:
    async def run(field: Field, scale: Scale) -> Figures:
        return {metric: await drain(field, scale.count, concurrency, processes)}

    return run


async def _draining_logged(field: Field, scale: Scale) -> Figures:
    log = str(field.folder / "worker.log")
    return {"drain-100-info": await drain(field, scale.count, 100, log="INFO", log_file=log)}


def _bare(batch: int, metric: str) -> Run:
    async def run(field: Field, scale: Scale) -> Figures:
        producer = await field.producer()
        done = await producer("bare", batch=batch, count=scale.count)
        return {metric: scale.count / done["seconds"]}

    return run


THROUGHPUT = (
    Scenario("add", _adding("one", "add"), ["add"]),
    Scenario("add-together", _adding("together", "add-together"), ["add-together"]),
    Scenario("add-many", _adding("bulk", "add-many"), ["add-many"]),
    Scenario("drain-10", _draining(10, "drain-10"), ["drain-10"], sized=True),
    Scenario("drain-100", _draining(100, "drain-100"), ["drain-100"], sized=True),
    Scenario("drain-100-info", _draining_logged, ["drain-100-info"], sized=True),
    *(
        Scenario(name, _draining(100, name, number), [name], sized=True, needs_processes=True)
        for number, name in ((1, "processes-1"), (2, "processes-2"), (4, "processes-4"))
    ),
    Scenario("bare-10", _bare(10, "bare-10"), ["bare-10"], sized=True),
    Scenario("bare-100", _bare(100, "bare-100"), ["bare-100"], sized=True),
)
