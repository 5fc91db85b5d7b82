"""APScheduler 4, in memory: one process is producer and worker."""

import importlib
from typing import Any

from docket_core.bench.agent import TEXT, Subject
from docket_core.bench.marks import Marks


class Apscheduler(Subject):
    """Its `AsyncScheduler` with jobs that were added without a schedule."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        del url, name, settings
        mark = marks.mark

        async def task(number: int, text: str) -> None:
            del text
            mark(number)

        self._task = task
        self._scheduler: Any = importlib.import_module("apscheduler").AsyncScheduler()
        await self._scheduler.__aenter__()
        await self._scheduler.configure_task("task", func=task)

    async def close(self) -> None:
        await self._scheduler.__aexit__(None, None, None)

    async def add(self, number: int) -> None:
        await self._scheduler.add_job("task", args=(number, TEXT))

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        await self._scheduler.configure_task("task", func=self._task, max_running_jobs=concurrency)
        self._scheduler.max_concurrent_jobs = concurrency
        await self._scheduler.start_in_background()

    async def stop(self) -> None:
        await self._scheduler.stop()


SUBJECT = Apscheduler
