"""pgqueuer, on Postgres through asyncpg."""

import asyncio
import importlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from docket_core.bench.agent import TEXT, Subject
from docket_core.bench.marks import Marks


class Pgqueuer(Subject):
    """Its queries to add, and its `PgQueuer.run` to work."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        del name, settings
        asyncpg: Any = importlib.import_module("asyncpg")
        driver: Any = importlib.import_module("pgqueuer.db").AsyncpgDriver
        mark = marks.mark
        self._connection: Any = await asyncpg.connect(url)
        self._queuer: Any = importlib.import_module("pgqueuer").PgQueuer(driver(self._connection))
        self._queries: Any = importlib.import_module("pgqueuer.queries").Queries(driver(self._connection))
        if not await self._queries.schema_is_installed():
            await self._queries.install()

        async def task(job: Any) -> None:
            number, _ = json.loads(job.payload)
            mark(number)

        self._queuer.entrypoint("task")(task)
        self._running: asyncio.Task[None] | None = None

    async def close(self) -> None:
        with suppress(Exception):  # its listener may still hold the connection
            await asyncio.wait_for(self._connection.close(), 2)

    async def add(self, number: int) -> None:
        await self._queries.enqueue("task", json.dumps([number, TEXT]).encode())

    async def add_many(self, numbers: Sequence[int]) -> None:
        payloads = [json.dumps([number, TEXT]).encode() for number in numbers]
        await self._queries.enqueue(["task"] * len(payloads), payloads, [0] * len(payloads))

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        running = self._queuer.run(batch_size=concurrency, max_concurrent_tasks=2 * concurrency)
        self._running = asyncio.create_task(running)

    async def stop(self) -> None:
        if self._running is not None:
            self._queuer.shutdown.set() if hasattr(self._queuer, "shutdown") else self._running.cancel()
            await asyncio.wait([self._running], timeout=3)
            self._running.cancel()
            self._running = None


SUBJECT = Pgqueuer
