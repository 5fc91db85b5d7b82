"""The long forms of the fault tests: `python -m tests.faults [soak | backlog | burst] [--tasks N] [--url URL ...]`.

Run them before a release, and after a change to a backend or to the worker's life. They need some minutes on two cores,
and exit with 0 only if what they are about holds.

soak      8 processes work on one store, and one of them is killed at random twice a second: nothing is lost, nothing
          runs twice without cause. Then a worker idles for a minute, and shows what that cost. 20,000 tasks.
backlog   A large backlog drains while a worker is killed and the server restarts: none is lost. 100,000 tasks.
burst     Many tasks are due at one instant: no other client of the server waits longer than 20 ms. 20,000 tasks.

Without --url they take every kind of store that fits, `backlog` and `burst` on servers of their own. The server behind
a given URL is not restarted; `burst` takes none.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.support import backlog
from tests.support.burst import LONGEST, burst
from tests.support.nursery import bare_nursery
from tests.support.soak import soak
from tests.support.troubled import KINDS
from tests.support.urls import SHARED

IDLE_LIMIT = 10
"""Thousandths of a core."""
TASKS = {"soak": 20_000, "backlog": 100_000, "burst": 20_000}


def succeeds(name: str, running: Callable[[], Awaitable[object]]) -> bool:
    """Run one of them, and print how it went."""

    async def run() -> object:
        return await running()

    try:
        print(f"{name}: {asyncio.run(run())}", flush=True)
    except (AssertionError, TimeoutError) as error:
        print(f"{name}: FAILED: {error or type(error).__name__}", flush=True)
        return False
    return True


def soak_all(options: argparse.Namespace, folder: Path, tasks: int) -> int:
    failures = 0
    for number, url in enumerate(options.url or [store.url(folder) for store in SHARED]):
        own = folder / f"soak-{number}"
        own.mkdir()
        run = partial(soak, url, own, tasks=tasks, workers=options.workers, pause=options.pause)
        failures += not succeeds(url, run)
        with bare_nursery(own) as children:
            used = children.start("tests.support.fleet:idle", url, options.idle).wait(options.idle + 30)
        failures += used >= IDLE_LIMIT
        print(f"{url}: an idle worker used {used / 10:.1f} % of a core in {options.idle:.0f} s", flush=True)
    return failures


def drain_all(options: argparse.Namespace, folder: Path, tasks: int) -> int:
    patience = 60 + tasks / 100
    if options.url:
        stores = [backlog.Store(url) for url in options.url]
        return sum(not succeeds(one.url, partial(backlog.drain, one, folder, tasks, patience)) for one in stores)
    failures = 0
    for kind in backlog.KINDS:
        own = folder / kind.name
        own.mkdir()
        with kind.start(own) as store:
            failures += not succeeds(kind.name, partial(backlog.drain, store, own, tasks, patience))
    return failures


def burst_all(_: argparse.Namespace, __: Path, tasks: int) -> int:
    async def measured(url: str, port: int, protocol: str) -> object:
        done = await burst(url, port, protocol, tasks)
        assert done.longest < LONGEST, str(done)
        return done

    failures = 0
    for kind in KINDS:
        with kind.start() as server:
            run = partial(measured, kind.url(server.port), server.port, kind.name)
            failures += not succeeds(kind.name, run)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="the long form of the fault tests")
    parser.add_argument("what", nargs="?", choices=TASKS, default="soak")
    parser.add_argument("--tasks", type=int, help=f"how many; by default {TASKS}")
    parser.add_argument("--workers", type=int, default=8, help="of a soak")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds from one kill of a soak to the next, about")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a worker idles after a soak")
    parser.add_argument("--url", action="append", help="an empty store; may be given more than once")
    options = parser.parse_args()
    chosen = {"soak": soak_all, "backlog": drain_all, "burst": burst_all}[options.what]
    with tempfile.TemporaryDirectory() as name:
        return int(bool(chosen(options, Path(name), options.tasks or TASKS[options.what])))


if __name__ == "__main__":
    sys.exit(main())
