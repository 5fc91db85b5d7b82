"""Dockets that are used without an event loop, and a worker beside them on a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager

import pytest

from docket_core import Docket, Worker
from docket_core.functions import AnyFunction
from docket_core.sync import SyncDocket
from tests.support.workers import PATIENCE


@pytest.fixture
def blocking(docket_url: str) -> Generator[SyncDocket, None, None]:
    """A docket that nobody has opened yet."""
    docket = SyncDocket("orders", docket_url)
    yield docket
    docket.close()


Employer = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def employed(docket_url: str) -> Employer:
    """`with employed(task, …):` a worker runs these tasks on a thread and a loop of its own."""

    @contextmanager
    def employ(*tasks: AnyFunction) -> Generator[None, None, None]:
        started: Future[Callable[[], object]] = Future()

        async def work() -> None:
            async with Docket("orders", docket_url) as docket, Worker(docket) as worker:
                for task in tasks:
                    docket.register(task)
                loop = asyncio.get_running_loop()
                started.set_result(lambda: loop.call_soon_threadsafe(worker.stop))
                await worker.run_forever()

        thread = threading.Thread(target=asyncio.run, args=[work()])
        thread.start()
        stop = started.result(PATIENCE)
        try:
            yield
        finally:
            stop()
            thread.join(PATIENCE)
            assert not thread.is_alive()

    return employ
