"""Scenarios of cost: an idle worker, the size of a task in the store, a worker's memory."""

import asyncio
import statistics

from docket_core.bench.contestants import Agent, Field, Lacking
from docket_core.bench.scale import DEFAULT_CONCURRENCY, Figures, Scale, Scenario

SHALLOW = 1000
CLAIMS, WARM = 60, 10
"""So many claims in a row are timed, and the first ones are left out."""
SERIES = 8
"""So many rows of claims, with pauses: the machine may be slow for a moment."""


async def _idle(field: Field, scale: Scale) -> Figures:
    """What a worker costs that has nothing to do: commands sent to the store, and processor time."""
    probe = field.contestant.probe
    (worker,) = await field.workers()
    await worker("work", concurrency=DEFAULT_CONCURRENCY, options={})
    await asyncio.sleep(scale.calm)
    sent = await probe.commands() if probe is not None else None
    before = await worker("usage")
    await asyncio.sleep(scale.idle_seconds)
    after = await worker("usage")
    passed = after["at"] - before["at"]
    figures = {"idle-cpu": 100 * (after["cpu"] - before["cpu"]) / passed}
    if probe is not None and sent is not None and (now := await probe.commands()) is not None:
        figures["idle-commands"] = (now - sent) / passed
    return figures


async def _bytes(field: Field, scale: Scale) -> Figures:
    """What a queued task of a small int and a small str takes in the store."""
    probe = field.contestant.probe
    if probe is None:
        raise Lacking("nobody here can ask the store for its size")
    producer = await field.producer()
    await producer("fill", first=0, count=100)
    before = await probe.size()
    await producer("fill", first=100, count=scale.stored)
    after = await probe.size()
    if before is None or after is None:
        raise Lacking("this store does not tell its size")
    return {"bytes": (after - before) / scale.stored}


async def _memory(field: Field, scale: Scale) -> Figures:
    """A worker's resident memory over many tasks; in the second half it should not grow.

    In memory the store is the process, so ended tasks are forgotten at once.
    """
    portion = max(1, min(10_000, scale.soak // 10))
    field.room(scale.soak)
    settings = {} if field.contestant.processes else {"execution_ttl": 0}
    producer = await field.producer(**settings)
    (worker,) = await field.workers(**settings)
    await worker("work", concurrency=100, options={})
    memory: list[float] = []
    done = 0
    while done < scale.soak:
        await producer("fill", first=done, count=portion)
        done += portion
        await field.all_started(done)
        memory.append((await worker("usage"))["memory"])
    second_half = memory[len(memory) // 2 :]
    growth = (second_half[-1] - second_half[0]) / max(1, portion * (len(second_half) - 1))
    return {"memory": memory[-1] / 2**20, "memory-growth": 1000 * growth / 1024}


async def _depth(field: Field, scale: Scale) -> Figures:
    """How much longer a claim of ten tasks takes where many wait than where 1,000 do."""
    producer = await field.producer()
    await producer("fill", first=0, count=SHALLOW)
    shallow = await _claim_time(producer, scale)
    await producer("fill", first=SHALLOW, count=scale.depth - SHALLOW)
    return {"depth": await _claim_time(producer, scale) / shallow}


async def _claim_time(producer: Agent, scale: Scale) -> float:
    """How long a claim takes, in seconds: the median of the quickest series."""
    medians: list[float] = []
    for _ in range(SERIES):
        seconds = (await producer("claims", times=CLAIMS))["seconds"]
        medians.append(statistics.median(seconds[WARM:]))
        await asyncio.sleep(scale.calm / 4)
    return min(medians)


COST = (
    Scenario("idle", _idle, ["idle-commands", "idle-cpu"]),
    Scenario("bytes", _bytes, ["bytes"], once=True),
    Scenario("depth", _depth, ["depth"], once=True),
    Scenario("memory", _memory, ["memory", "memory-growth"], once=True),
)
