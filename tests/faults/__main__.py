"""The long form of the fault tests: `python -m tests.faults [--tasks 20000] [--url URL ...] [--idle 60]`.

Run it before a release, and after a change to a backend or to the worker's life. It lets 8 processes work on one
store and kills one of them at random twice a second; then it lets a worker idle for a minute and shows what that
cost. It needs some minutes on two cores, and exits with 0 only if nothing was lost and nothing ran twice without
cause. Without --url it takes every store of `tests/support/urls.py` that several processes can open.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.support.nursery import nursery
from tests.support.soak import soak
from tests.support.urls import SHARED

IDLE_LIMIT = 10
"""Thousandths of a core."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="the long form of the fault tests")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds from one kill to the next, about")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a worker idles")
    parser.add_argument("--url", action="append", help="an empty store; may be given more than once")
    options = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for url in options.url or [store.url(folder) for store in SHARED]:
            try:
                running = soak(url, folder, tasks=options.tasks, workers=options.workers, pause=options.pause)
                print(f"{url}: {asyncio.run(running)}", flush=True)
            except AssertionError as error:
                failures += 1
                print(f"{url}: FAILED: {error}", flush=True)
            with nursery(folder) as children:
                used = children.start("tests.support.fleet:idle", url, options.idle).wait(options.idle + 30)
            failures += used >= IDLE_LIMIT
            print(f"{url}: an idle worker used {used / 10:.1f} % of a core in {options.idle:.0f} s", flush=True)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
