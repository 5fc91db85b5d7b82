"""How fast adding and draining are, on every URL given, in one run: `python -m benchmarks.smoke [URL …]`.

Rounds are interleaved over the URLs, and medians with their spread are shown. `bare` is the store alone: claims of 100
and acks of 100 straight on the backend, the limit that a worker is measured against. Compare rows of one run only.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from docket_core import Docket, Worker
from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Task
from docket_core.backend.registry import open_backend
from docket_core.errors import DocketError

Scenario = Callable[[str, int], Awaitable[float]]


async def task(number: int, text: str) -> None:
    """Does nothing: what is left is the framework."""


async def add_one_by_one(url: str, count: int) -> float:
    """`add`, each awaited before the next."""
    async with Docket(_name(), url) as docket:
        began = time.perf_counter()
        for number in range(count // 4):
            await docket.add(task)(number, "text")
        return (count // 4) / (time.perf_counter() - began)


async def add_gathered(url: str, count: int) -> float:
    """`add`, 100 at a time."""
    async with Docket(_name(), url) as docket:
        began = time.perf_counter()
        for start in range(0, count, 100):
            await asyncio.gather(*(docket.add(task)(start + offset, "text") for offset in range(100)))
        return count / (time.perf_counter() - began)


async def add_many(url: str, count: int) -> float:
    """`add_many`, 1,000 at a time."""
    async with Docket(_name(), url) as docket:
        began = time.perf_counter()
        for start in range(0, count, 1000):
            await docket.add_many(docket.call(task)(start + offset, "text") for offset in range(1000))
        return count / (time.perf_counter() - began)


def drain(concurrency: int) -> Scenario:
    """A backlog to its last ack, by one worker in this process."""

    async def scenario(url: str, count: int) -> float:
        async with Docket(_name(), url) as docket:
            await docket.add_many(docket.call(task)(number, "text") for number in range(count))
            async with Worker(docket, concurrency=concurrency) as worker:
                began = time.perf_counter()
                await worker.run_until_finished()
                return count / (time.perf_counter() - began)

    return scenario


def bare(batch: int) -> Scenario:
    """Claims and acks straight on the backend: what the store alone allows from Python."""

    async def scenario(url: str, count: int) -> float:
        async with open_backend(url, _name()) as backend:
            payload = b"x" * 40
            for start in range(0, count, 1000):
                await backend.enqueue([Task(f"k{start + n}", "task", payload, f"r{start + n}") for n in range(1000)])
            began = time.perf_counter()
            done = 0
            while done < count:
                claimed = await backend.claim("bare", frozenset({"task"}), batch, 30 * SECOND, 5)
                await backend.ack([Ack.complete(claim) for claim in claimed.claims])
                done += len(claimed.claims)
            return count / (time.perf_counter() - began)

    return scenario


SCENARIOS: dict[str, Scenario] = {
    "add one by one": add_one_by_one,
    "add, gather of 100": add_gathered,
    "add_many(1000)": add_many,
    "drain, concurrency 10": drain(10),
    "drain, concurrency 100": drain(100),
    "bare, batches of 10": bare(10),
    "bare, batches of 100": bare(100),
}


def _name() -> str:
    return f"smoke-{uuid4().hex[:12]}"


async def measure(urls: list[str], count: int, rounds: int) -> dict[tuple[str, str], list[float]]:
    """Tasks per second of every scenario on every URL, round by round."""
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, scenario in SCENARIOS.items():
            for url in urls:
                figures.setdefault((name, url), []).append(await scenario(url, count))
    return figures


def main() -> None:
    """Measure, and show a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("urls", nargs="*", metavar="URL", help="default: memory and a temporary SQLite file")
    parser.add_argument("--count", type=int, default=5000, help="tasks per scenario (a multiple of 1,000)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        urls: list[str] = options.urls or ["memory://smoke", f"sqlite:///{Path(folder) / 'smoke.db'}"]
        try:
            figures = asyncio.run(measure(urls, options.count, options.rounds))
        except DocketError as error:
            raise SystemExit(f"{type(error).__name__}: {error}") from error
    table = Table("tasks per second, median (min to max)")
    for url in urls:
        table.add_column(url.partition("://")[0], justify="right")
    for name in SCENARIOS:
        cells: list[str] = []
        for url in urls:
            rates = figures[name, url]
            cells.append(f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})")
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
