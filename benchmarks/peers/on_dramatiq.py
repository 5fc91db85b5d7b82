"""dramatiq, on Redis: tasks run in threads, as many as the concurrency."""

import importlib
from typing import Any

from docket_core.bench.agent import TEXT, Subject
from docket_core.bench.marks import Marks


class Dramatiq(Subject):
    """Its Redis broker, and the worker that each of its processes runs."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        del settings
        self._library: Any = importlib.import_module("dramatiq")
        brokers: Any = importlib.import_module("dramatiq.brokers.redis")
        mark = marks.mark

        def task(number: int, text: str) -> None:
            del text
            mark(number)

        self._broker: Any = brokers.RedisBroker(url=url, namespace=name)
        self._task: Any = self._library.actor(task, broker=self._broker)
        self._worker: Any = None

    async def close(self) -> None:
        self._broker.close()

    async def add(self, number: int) -> None:
        self._task.send(number, TEXT)

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        self._worker = self._library.Worker(self._broker, worker_threads=concurrency)
        self._worker.start()

    async def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


SUBJECT = Dramatiq
