"""What runs in the children of a nursery: workers, producers, and tasks that leave a trace in a file."""

import asyncio
import json
import logging
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from docket_core import (
    CurrentDocket,
    CurrentExecution,
    Docket,
    Execution,
    ExecutionProgress,
    Perpetual,
    Progress,
    Worker,
)
from docket_core.codec import JsonCodec

NAME = "fleet"


class Line(NamedTuple):
    """One thing that a task did."""

    what: str
    key: str
    pid: int
    token: int
    at: float
    detail: str


class Trace:
    """A file to which many processes append lines, each in one write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self, what: str | None = None) -> list[Line]:
        whole, _, _ = self.path.read_text().rpartition("\n")  # the last line may be being written
        found = [Line(*json.loads(text)) for text in whole.splitlines()]
        return [line for line in found if what is None or line.what == what]

    def by_key(self, what: str) -> Mapping[str, list[Line]]:
        keys: defaultdict[str, list[Line]] = defaultdict(list)
        for line in self.lines(what):
            keys[line.key].append(line)
        return keys


def trace(path: str, what: str, execution: Execution, detail: str = "") -> None:
    """Append a line."""
    line = json.dumps(Line(what, execution.key, os.getpid(), execution.token or 0, time.monotonic(), detail))
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, (line + "\n").encode())
    finally:
        os.close(file)


async def step(path: str, seconds: float, execution: Execution = CurrentExecution()) -> int:
    """Work for a moment."""
    trace(path, "start", execution)
    await asyncio.sleep(seconds * (0.5 + random.random()))
    trace(path, "end", execution)
    return os.getpid()


async def hold(
    path: str,
    until: str,
    execution: Execution = CurrentExecution(),
    progress: ExecutionProgress = Progress(),
) -> str:
    """Work until a file is there; shows its progress before and after."""
    trace(path, "start", execution)
    try:
        await progress.increment()
        while not os.path.exists(until):  # noqa: PTH110 - a look costs microseconds
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        trace(path, "cancelled", execution)
        raise
    await progress.increment(10)
    trace(path, "end", execution)
    return f"{os.getpid()}"


async def block(path: str, seconds: float, execution: Execution = CurrentExecution()) -> int:
    """Keep the event loop from turning, without holding the interpreter's lock."""
    trace(path, "start", execution)
    time.sleep(seconds)  # noqa: ASYNC251 - this is what is tested
    trace(path, "end", execution)
    return os.getpid()


async def suicide(path: str, execution: Execution = CurrentExecution()) -> None:
    """End the whole process, as a fault in a C library would."""
    trace(path, "start", execution)
    os.kill(os.getpid(), signal.SIGKILL)


async def chain(
    path: str,
    number: int,
    execution: Execution = CurrentExecution(),
    perpetual: Perpetual = Perpetual(every=timedelta(milliseconds=20)),
) -> None:
    """Go on with the next number."""
    trace(path, "start", execution, str(number))
    await asyncio.sleep(0.01)
    perpetual.perpetuate(path, number + 1)


async def child_of(path: str, execution: Execution = CurrentExecution(), docket: Docket = CurrentDocket()) -> None:
    """Add a task that can run once."""
    trace(path, "start", execution)
    await docket.add(step, key=f"child of {execution.key}")(path, 0.0)


TASKS: list[Callable[..., Any]] = [step, hold, block, suicide, chain, child_of]


def open_docket(url: str) -> Docket:
    docket = Docket(NAME, url, codec=JsonCodec())
    for task in TASKS:
        docket.register(task)
    return docket


def work(url: str, options: dict[str, Any]) -> int:
    """A worker: SIGTERM tells it to stop, a second one to leave at once. Exits with 0 if it ended what ran."""
    return asyncio.run(_work(url, options))


async def _work(url: str, options: dict[str, Any]) -> int:
    logging.basicConfig(level=logging.WARNING)
    for name in _TIMES & options.keys():
        options[name] = timedelta(seconds=options[name])
    signals = 0
    async with open_docket(url) as docket, Worker(docket, name=f"w{os.getpid()}", **options) as worker:

        def told() -> None:
            nonlocal signals
            signals += 1
            worker.stop()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told)
        await worker.run_forever()
    return 7 if signals > 1 else 0


_TIMES = frozenset({"redelivery_timeout", "reconnection_delay", "shutdown_grace"})


def work_unknown(url: str) -> int:
    """A worker that knows none of the tasks."""

    async def run() -> int:
        async with Docket(NAME, url) as docket, Worker(docket, name=f"u{os.getpid()}") as worker:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
            await worker.run_forever()
        return 0

    return asyncio.run(run())


def produce(url: str, path: str, count: int, seconds: float, prefix: str) -> int:
    """Put so many tasks on the docket, and end."""

    async def run() -> int:
        async with open_docket(url) as docket:
            for start in range(0, count, 500):
                numbers = range(start, min(start + 500, count))
                await docket.add_many([docket.call(step, key=f"{prefix}{n}")(path, seconds) for n in numbers])
        return 0

    return asyncio.run(run())


def race(url: str, path: str, key: str, adders: int) -> int:
    """Add one key so often at the same time; writes what each was told."""

    async def run() -> int:
        async with open_docket(url) as docket:
            answers = await asyncio.gather(*(docket.add(step, key=key)(path, 0.0) for _ in range(adders)))
            for answer in answers:
                trace(path, "told", answer, answer.disposition.value)
        return 0

    return asyncio.run(run())


def idle(url: str, seconds: float) -> int:
    """A worker with nothing to do; exits with the thousandths of a core that it used.

    On a store that is part of this process it exits with 200 if a driver for a server came in.
    """

    async def run() -> int:
        async with Docket(NAME, url) as docket, Worker(docket) as worker:
            running = asyncio.create_task(worker.run_forever())
            await asyncio.sleep(1)
            began, used = time.monotonic(), time.process_time()
            await asyncio.sleep(seconds)
            share = (time.process_time() - used) / (time.monotonic() - began)
            worker.stop()
            with suppress(asyncio.CancelledError):
                await running
        strangers = {"redis", "asyncpg"} & sys.modules.keys() if url.startswith(("memory:", "sqlite:")) else ()
        return 200 if strangers else min(199, round(share * 1000))

    return asyncio.run(run())
