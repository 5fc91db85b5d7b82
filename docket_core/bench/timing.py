"""Scenarios of time: how soon a task starts, how late, and how soon again after its worker was killed."""

import asyncio
import statistics
import time
from collections.abc import Sequence

from docket_core.bench.contestants import PATIENCE, Failed, Field
from docket_core.bench.scale import DEFAULT_CONCURRENCY, Figures, Scale, Scenario

LEASE = 2.0
"""Of a worker that is killed, in seconds."""


async def _latency(field: Field, scale: Scale) -> Figures:
    """From the call of `add` to the first line of the task, while the worker has nothing else to do."""
    field.room(scale.samples)
    producer = await field.producer()
    (worker,) = await field.workers()
    await worker("work", concurrency=DEFAULT_CONCURRENCY, options={})
    await asyncio.sleep(scale.calm)
    called = (await producer("ping", first=0, count=scale.samples, pause=0.02))["called"]
    await field.all_started(scale.samples)
    waited = [1000 * (start - call) for start, call in zip(field.marks.all(), called, strict=True)]
    return {"latency-p50": _quantile(waited, 50), "latency-p99": _quantile(waited, 99)}


async def _lateness(field: Field, scale: Scale) -> Figures:
    """From the time a task is due to its first line: one task every 10 ms."""
    count = scale.samples * 2
    field.room(count)
    producer = await field.producer()
    (worker,) = await field.workers()
    await worker("work", concurrency=DEFAULT_CONCURRENCY, options={})
    added = await producer("due", first=0, count=count, delay=scale.ahead, spread=0.01)
    if added["late"]:
        raise Failed(f"adding {count} tasks for later took so long that they were due before all were there")
    await field.all_started(count)
    late = [1000 * (start - due) for start, due in zip(field.marks.all(), added["due"], strict=True)]
    return {"lateness-p50": _quantile(late, 50), "lateness-p99": _quantile(late, 99)}


async def _at_once(field: Field, scale: Scale) -> Figures:
    """Many tasks due at one instant: their last start, against the time that as many take which are ready.

    Both begin after a pause: a machine that was idle is slower for a while.
    """
    count = scale.at_once
    field.room(2 * count)
    producer = await field.producer()
    await producer("fill", first=0, count=count)
    (worker,) = await field.workers()
    await asyncio.sleep(scale.ahead)
    await worker("work", concurrency=DEFAULT_CONCURRENCY, options={})
    await field.all_started(count)
    await producer("settled")
    ready = field.marks.all()[:count]
    for delay in (scale.ahead, 10.0, 60.0):
        added = await producer("due", first=count, count=count, delay=delay, spread=0.0)
        if not added["late"]:
            break
        await field.all_started(2 * count)
        field.marks.forget(count)
    await field.all_started(2 * count)
    last = max(field.marks.all()[count:]) - added["due"][0]
    return {"at-once": last / max(max(ready) - min(ready), 1e-6)}


async def _redelivery(field: Field, scale: Scale) -> Figures:
    """From the SIGKILL that ends a worker until the task it ran has started again on another one."""
    del scale
    field.room(1)
    producer = await field.producer(lasting=True)
    options = {"redelivery_timeout": LEASE}
    (doomed,) = await field.workers()
    await doomed("work", concurrency=DEFAULT_CONCURRENCY, options=options)
    await producer("fill", first=0, count=1)
    await field.all_started(1)
    (other,) = await field.workers()
    await other("work", concurrency=DEFAULT_CONCURRENCY, options=options)
    killed = time.monotonic()
    await doomed.kill()
    await field.retire(doomed)
    async with asyncio.timeout(PATIENCE):
        while (again := field.marks.all()[0]) < killed:  # noqa: ASYNC110 - another process has what is waited for
            await asyncio.sleep(0.01)
    await other.kill()
    await field.retire(other)
    return {"redelivery": again - killed}


def _quantile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


TIMING = (
    Scenario("latency", _latency, ["latency-p50", "latency-p99"]),
    Scenario("lateness", _lateness, ["lateness-p50", "lateness-p99"]),
    Scenario("at-once", _at_once, ["at-once"]),
    Scenario("redelivery", _redelivery, ["redelivery"], needs_processes=True),
)
