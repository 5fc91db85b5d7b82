"""taskiq with taskiq-redis, on a Redis stream."""

import asyncio
import importlib
from typing import Any

from docket_core.bench.agent import TEXT, Subject
from docket_core.bench.marks import Marks


class Taskiq(Subject):
    """`RedisStreamBroker`, and the receiver that `taskiq worker` runs, as it is run from code."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        del settings
        mark = marks.mark

        async def task(number: int, text: str) -> None:
            del text
            mark(number)

        self._broker: Any = importlib.import_module("taskiq_redis").RedisStreamBroker(url, queue_name=name)
        self._task: Any = self._broker.task(task_name="task")(task)
        await self._broker.startup()
        self._running: asyncio.Task[None] | None = None

    async def close(self) -> None:
        await self._broker.shutdown()

    async def add(self, number: int) -> None:
        await self._task.kiq(number, TEXT)

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        self._broker.is_worker_process = True
        receive: Any = importlib.import_module("taskiq.api").run_receiver_task
        self._running = asyncio.create_task(receive(self._broker, max_async_tasks=concurrency))

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running], timeout=3)
            self._running = None


SUBJECT = Taskiq
