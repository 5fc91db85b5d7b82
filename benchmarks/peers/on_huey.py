"""huey, on Redis and on SQLite: tasks run in threads, as many as the concurrency."""

import importlib
from typing import Any

from docket_core.bench.agent import TEXT, Subject
from docket_core.bench.marks import Marks


class Huey(Subject):
    """Its queue, and the consumer that its command runs."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        del settings
        library: Any = importlib.import_module("huey")
        mark = marks.mark

        def task(number: int, text: str) -> None:
            del text
            mark(number)

        sqlite = url.startswith("sqlite:///")
        if sqlite:
            self._huey: Any = library.SqliteHuey(name, filename=url.removeprefix("sqlite:///"))
        else:
            self._huey = library.RedisHuey(name, url=url)
        self._task: Any = self._huey.task()(task)
        self._consumer: Any = None

    async def add(self, number: int) -> None:
        self._task(number, TEXT)

    async def work(self, concurrency: int, options: dict[str, Any]) -> None:
        self._consumer = self._huey.create_consumer(workers=concurrency, worker_type="thread")
        self._consumer.start()

    async def stop(self) -> None:
        if self._consumer is not None:
            self._consumer.stop(graceful=True)
            self._consumer = None


SUBJECT = Huey
