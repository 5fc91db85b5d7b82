"""pydocket, on Redis. Tuned: its worker waits as little as may be, and the pool has more than 100 connections."""

import asyncio
import importlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from docket_core.bench.agent import TEXT, Subject
from docket_core.bench.marks import Marks

SHORT = timedelta(milliseconds=1)


class Pydocket(Subject):
    """Its `Docket` and `Worker`."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        library = importlib.import_module("docket")
        mark = marks.mark

        async def task(number: int, text: str) -> None:
            del text
            mark(number)

        self._task = task
        self._worker_class: Any = library.Worker
        self._tuned = bool(settings.get("tuned"))
        self._docket: Any = library.Docket(name=name, url=f"{url}?max_connections=1000" if self._tuned else url)
        await self._docket.__aenter__()
        self._docket.register(task)
        self._worker: Any = None

    async def close(self) -> None:
        await self._docket.__aexit__(None, None, None)

    async def add(self, number: int) -> None:
        await self._docket.add(self._task)(number, TEXT)

    async def add_many(self, numbers: Sequence[int]) -> None:
        raise NotImplementedError

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        short = {"minimum_check_interval": SHORT} if self._tuned else {}
        self._worker = self._worker_class(self._docket, concurrency=concurrency, **short)
        await self._worker.__aenter__()
        self._running = asyncio.create_task(self._worker.run_forever())

    async def stop(self) -> None:
        if self._worker is not None:
            self._running.cancel()
            await asyncio.wait([self._running], timeout=3)
            await self._worker.__aexit__(None, None, None)
            self._worker = None


SUBJECT = Pydocket
