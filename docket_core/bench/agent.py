"""A process of a scenario: it hosts one subject and does what the lines on its standard input say.

A line is a JSON array: the name of a command and its arguments by name; the answer is one JSON object. What is timed,
is timed here, by the same code for every subject. Uses the standard library only: contestants that are not docket-core
run it too, with their own `Subject`.
"""

import asyncio
import gc
import json
import os
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from docket_core.bench.marks import Marks

TOGETHER = 100
"""So many adds are under way at once where they are concurrent."""
BULK = 1000
"""So many tasks go into one call in bulk."""
TEXT = "text"
"""The second argument of every task."""


class Subject:
    """A framework, or a bare loop, as scenarios use it. Its task takes an int and a str, marks its start, and ends.

    What a subject has no way to do raises `NotImplementedError`, as here.
    """

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        """Connect; of what was added under the name nothing is there yet."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop and disconnect."""

    async def add(self, number: int) -> None:
        raise NotImplementedError

    async def add_many(self, numbers: Sequence[int]) -> None:
        """In as few calls as there is a way to."""
        raise NotImplementedError

    async def add_due(self, numbers: Sequence[int], due: Sequence[float]) -> None:
        """Add tasks for later, due at these times of `time.time`."""
        raise NotImplementedError

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        """Start a worker; returns once it takes tasks."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop the worker, if there is one."""

    async def settled(self) -> bool:
        """Wait until all that was added is recorded as done; False at once where that cannot be asked."""
        return False

    async def clear(self) -> None:
        """Remove all that was added and all that is kept of it."""

    async def claims(self, times: int) -> list[float]:
        """Claim tasks without a worker and give them back; answers how long each claim took, in seconds."""
        raise NotImplementedError

    async def bare(self, batch: int, count: int) -> float:
        """Take and acknowledge so many tasks without a worker; answers how long that took, in seconds."""
        raise NotImplementedError


class Agent:
    """Runs commands on a subject."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.marks: Marks | None = None

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: str) -> dict[str, Any]:
        self.marks = Marks(Path(marks))
        await self.subject.open(url, name, settings, self.marks)
        return {"pid": os.getpid()}

    async def close(self) -> dict[str, Any]:
        await self.subject.close()
        return {}

    async def fill(self, first: int, count: int) -> dict[str, Any]:
        """Add tasks in bulk, or as many at a time as there is a way to."""
        await self._in_bulk(range(first, first + count))
        return {}

    async def add(self, how: str, seconds: float) -> dict[str, Any]:
        """Add tasks one by one, together or in bulk until the time is over; answers how many in how long."""
        step, unit = {"one": (self._one, 1), "together": (self._together, TOGETHER), "bulk": (self._bulk, BULK)}[how]
        await step(range(unit))  # connections are made, statements are known
        count = 0
        gc.collect()
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            await step(range(count, count + unit))
            count += unit
        return {"count": count, "seconds": passed}

    async def ping(self, first: int, count: int, pause: float) -> dict[str, Any]:
        """Add tasks one by one, with a pause before each; answers the moments of the calls."""
        called: list[float] = []
        for number in range(first, first + count):
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            called.append(time.monotonic())
            await self.subject.add(number)
        return {"called": called}

    async def due(self, first: int, count: int, delay: float, spread: float) -> dict[str, Any]:
        """Add tasks for later: from `delay` seconds on, one every `spread`; answers when each is due."""
        start, offset = time.time() + delay, time.monotonic() - time.time()
        due = [start + number * spread for number in range(count)]
        for begin in range(0, count, BULK):
            end = min(count, begin + BULK)
            await self.subject.add_due(range(first + begin, first + end), due[begin:end])
        return {"due": [moment + offset for moment in due], "late": time.time() > start}

    async def work(self, concurrency: int, options: dict[str, Any]) -> dict[str, Any]:
        await self.subject.work(concurrency, options)
        return {}

    async def stop(self) -> dict[str, Any]:
        await self.subject.stop()
        return {}

    async def settled(self) -> dict[str, Any]:
        recorded = await self.subject.settled()
        return {"recorded": recorded, "at": time.monotonic()}

    async def clear(self) -> dict[str, Any]:
        await self.subject.clear()
        return {}

    async def claims(self, times: int) -> dict[str, Any]:
        return {"seconds": await self.subject.claims(times)}

    async def bare(self, batch: int, count: int) -> dict[str, Any]:
        return {"seconds": await self.subject.bare(batch, count)}

    async def usage(self) -> dict[str, Any]:
        """The processor time this process has used, in seconds, and its resident memory without the marks, in bytes."""
        if self.marks is not None:
            self.marks.unload()
        return {"at": time.monotonic(), "cpu": time.process_time(), "memory": _resident()}

    async def _one(self, numbers: Sequence[int]) -> None:
        await self.subject.add(numbers[0])

    async def _together(self, numbers: Sequence[int]) -> None:
        await asyncio.gather(*map(self.subject.add, numbers))

    async def _bulk(self, numbers: Sequence[int]) -> None:
        await self.subject.add_many(numbers)

    async def _in_bulk(self, numbers: Sequence[int]) -> None:
        for begin in range(0, len(numbers), BULK):
            portion = numbers[begin : begin + BULK]
            try:
                await self.subject.add_many(portion)
            except NotImplementedError:
                for start in range(0, len(portion), TOGETHER):
                    await self._together(portion[start : start + TOGETHER])


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:  # no Linux: the highest it ever was is the next best
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def serve(subject: Subject) -> None:
    """Do what is asked on the standard input, one line after the other, until it ends."""
    agent = Agent(subject)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is no answer
    while line := await lines.readline():
        name, arguments = json.loads(line)
        command: Callable[..., Awaitable[dict[str, Any]]] = getattr(agent, name)
        try:
            answer = await command(**arguments)
        except Exception as error:  # noqa: BLE001 - who asked decides what an error means
            answer = {"error": f"{type(error).__name__}: {error}", "lacking": isinstance(error, NotImplementedError)}
        out.write(json.dumps(answer) + "\n")
        out.flush()
