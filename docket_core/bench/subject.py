"""docket-core as a subject of the benchmark, through its public API and with the defaults a user gets."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.model import Ack, Task
from docket_core.backend.registry import open_backend
from docket_core.backend.states import State
from docket_core.bench.agent import TEXT, Subject, serve
from docket_core.bench.marks import Marks
from docket_core.docket import Docket
from docket_core.worker import Worker
from docket_core.worker.entry import start_kept

DAY = timedelta(days=1)
LONG = 60.0
"""How long a task that is killed would have taken, in seconds."""
PRUNED = 1000


class DocketSubject(Subject):
    """A docket, and a worker of it where one is asked for."""

    def __init__(self) -> None:
        self._url = ""
        self.docket: Docket
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        self._kept = ExitStack()

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        mark = marks.mark
        self._url = url

        async def task(number: int, text: str) -> None:
            del text
            mark(number)

        async def lasting(number: int, text: str) -> None:
            del text
            mark(number)
            await asyncio.sleep(LONG)

        kept = timedelta(seconds=settings["execution_ttl"]) if "execution_ttl" in settings else timedelta(minutes=15)
        self.docket = Docket(name, url, execution_ttl=kept)
        self.docket.register(task)
        self.docket.register(lasting)
        self._task = lasting if settings.get("lasting") else task
        await self.docket.__aenter__()

    async def close(self) -> None:
        await self.stop()
        await self.docket.__aexit__(None, None, None)

    async def add(self, number: int) -> None:
        await self.docket.add(self._task)(number, TEXT)

    async def add_many(self, numbers: Sequence[int]) -> None:
        call = self.docket.call(self._task)
        await self.docket.add_many([call(number, TEXT) for number in numbers])

    async def add_due(self, numbers: Sequence[int], due: Sequence[float]) -> None:
        call, task = self.docket.call, self._task
        pairs = zip(numbers, due, strict=True)
        await self.docket.add_many(
            [call(task, when=datetime.fromtimestamp(moment, UTC))(number, TEXT) for number, moment in pairs]
        )

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        if level := options.pop("log", None):
            _log_to(level, options.pop("log_file"))
        if "redelivery_timeout" in options:
            options["redelivery_timeout"] = timedelta(seconds=options["redelivery_timeout"])
        self._worker = Worker(self.docket, concurrency=concurrency, **options)
        self._kept.enter_context(start_kept())  # as in any process that is a worker's own
        self._running = asyncio.create_task(self._worker.run_forever())
        await asyncio.sleep(0)
        await self._worker.has_claimed()

    async def stop(self) -> None:
        if self._worker is not None and self._running is not None:
            self._worker.stop()
            await self._running
            self._worker = self._running = None
            self._kept.close()

    async def settled(self) -> bool:
        while (await self.docket.snapshot()).total_tasks:  # noqa: ASYNC110 - another process has what is waited for
            await asyncio.sleep(0.001)
        return True

    async def clear(self) -> None:
        await self.docket.clear()
        clock = ManualClock(datetime.now(UTC))
        async with open_backend(self._url, self.docket.name, clock=clock) as backend:
            page = await backend.scan({State.RUNNING}, PRUNED)  # of workers that were killed
            await backend.cancel([record.key for record in page.records])
            for _ in range(2):  # leases have run out a day later, and nothing is kept any more after another
                clock.advance(DAY)
                while await backend.prune(PRUNED):
                    pass

    async def claims(self, times: int) -> list[float]:
        backend, functions = self.docket.backend, frozenset({self._task.__name__})
        taken: list[float] = []
        for _ in range(times):
            began = time.perf_counter()
            claimed = await backend.claim("bare", functions, 10, 30 * SECOND, 5)
            taken.append(time.perf_counter() - began)
            await backend.ack([Ack.release(claim) for claim in claimed.claims])
        return taken

    async def bare(self, batch: int, count: int) -> float:
        backend = self.docket.backend
        payload = b"x" * 40
        for start in range(0, count, 1000):
            numbers = range(start, min(count, start + 1000))
            await backend.enqueue([Task(f"k{n}", "task", payload, f"r{n}") for n in numbers])
        began, done = time.perf_counter(), 0
        while done < count:
            claimed = await backend.claim("bare", frozenset({"task"}), batch, 30 * SECOND, 5)
            await backend.ack([Ack.complete(claim) for claim in claimed.claims])
            done += len(claimed.claims)
        return time.perf_counter() - began


def _log_to(level: str, path: str) -> None:
    """A log as a worker process writes it, into a file."""
    handler = logging.FileHandler(Path(path))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level)


if __name__ == "__main__":
    asyncio.run(serve(DocketSubject()))
