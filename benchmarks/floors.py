"""What the shape of a call costs before anything is kept: a hand-over to a thread, round trips between two processes,
any code after a pause.

`python -m benchmarks.floors` prints them. Beside the stores' limits (`benchmarks/limits.py`) they say how much of a
target is left for all that a framework does; see docs/adr/0015-targets-out-of-reach.md.
"""

import asyncio
import json
import pickle
import queue
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.places import places
from benchmarks.wire import Wire
from docket_core.ids import uuid7

ROUNDS, SECONDS, SAMPLES = 5, 1.0, 200
ADD = "redis.call('XADD', KEYS[1], '*', 'p', ARGV[1]); redis.call('PUBLISH', KEYS[1]..'-bell', '')"
TAKE = """
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 10)
for _, entry in ipairs(entries) do redis.call('XDEL', KEYS[1], entry[1]) end
return entries
"""
INSERT = "with added as (insert into floor (number) values ($1)) select pg_notify('floor', '')"
DELETE = (
    "delete from floor where id = any(array(select id from floor order by id limit 10 for update skip locked))"
    " returning number"
)


Began = Callable[[int], None]
Producing = Callable[[int], Coroutine[Any, Any, object]]


async def push_one(url: str) -> Producing:
    redis = await Wire(url).__aenter__()
    return lambda number: redis.ask("LPUSH", "floor-list", str(number))


async def pop(url: str, began: Began) -> None:
    """One round trip: the store holds the answer back until there is something."""
    async with Wire(url) as redis:
        while True:
            began(int((await redis.ask("BLPOP", "floor-list", "0"))[1]))


async def publish_one(url: str) -> Producing:
    redis = await Wire(url).__aenter__()
    script: bytes = await redis.ask("SCRIPT", "LOAD", ADD)
    return lambda number: redis.ask("EVALSHA", script.decode(), "1", "floor", str(number))


async def claim(url: str, began: Began) -> None:
    """Two: something is heard of, and then asked for, as a claim must be that is recorded."""
    async with Wire(url) as redis, Wire(url) as bell:
        script: bytes = await redis.ask("SCRIPT", "LOAD", TAKE)
        await bell.ask("SUBSCRIBE", "floor-bell")
        while True:
            await bell.replies(1)
            for _, fields in await redis.ask("EVALSHA", script.decode(), "1", "floor"):
                began(int(fields[1]))


async def insert_one(url: str) -> Producing:
    connection = await asyncpg.connect(url)
    statement = await connection.prepare(INSERT)
    return statement.fetch


async def take(url: str, began: Began) -> None:
    """A notification, and a statement that takes what is there; each commit is on the disk."""
    heard = asyncio.Event()

    def hear(*_: object) -> None:
        heard.set()

    own, ears = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        await own.execute("create table floor (id bigint generated always as identity primary key, number int)")
        statement = await own.prepare(DELETE)
        await ears.add_listener("floor", hear)
        while True:
            await heard.wait()
            heard.clear()
            for row in await statement.fetch():
                began(row[0])
    finally:
        own.terminate()
        ears.terminate()


WAYS = {
    "Redis, blocking pop": ("redis", push_one, pop),
    "Redis, told and claimed": ("redis", publish_one, claim),
    "Postgres, told and claimed": ("postgres", insert_one, take),
}


async def produce(way: str, url: str, samples: str) -> None:
    """The other process: adds one after the other, and prints when."""
    add = await WAYS[way][1](url)
    called: list[float] = []
    for number in range(int(samples)):
        await asyncio.sleep(0.02 * random.uniform(0.5, 1.5))
        called.append(time.monotonic())
        await add(number)
    print(json.dumps(called))


async def latency(way: str, url: str, samples: int = SAMPLES) -> float:
    """From the add in another process until it is here, the median in milliseconds."""
    begun: dict[int, float] = {}

    def began(number: int) -> None:
        begun[number] = time.monotonic()

    taking = asyncio.create_task(WAYS[way][2](url, began))
    await asyncio.sleep(0.5)
    command = (sys.executable, "-m", "benchmarks.floors", way, url, str(samples))
    producer = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await producer.communicate()
    await asyncio.sleep(0.2)
    taking.cancel()
    await asyncio.wait([taking])
    called: list[float] = json.loads(out)
    return statistics.median(1000 * (begun[number] - moment) for number, moment in enumerate(called))


async def by_a_thread(file: Path) -> float:
    """Inserts by way of a thread, one awaited at a time, as a share of those made in place."""
    loop = asyncio.get_running_loop()
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    for pragma in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
        connection.execute(pragma)
    connection.execute("CREATE TABLE IF NOT EXISTS q (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    jobs: queue.SimpleQueue[asyncio.Future[None] | None] = queue.SimpleQueue()

    def insert() -> None:
        connection.execute("INSERT INTO q (payload) VALUES (?)", (b"x" * 40,))

    def work() -> None:
        while (future := jobs.get()) is not None:
            insert()
            loop.call_soon_threadsafe(future.set_result, None)

    async def in_place() -> None:
        insert()

    async def handed_over() -> None:
        future: asyncio.Future[None] = loop.create_future()
        jobs.put(future)
        await future

    thread = loop.run_in_executor(None, work)
    rates: list[float] = []
    for way in (in_place, handed_over):
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            await way()
            count += 1
        rates.append(count / (time.perf_counter() - began))
    jobs.put(None)
    await thread
    connection.close()
    return rates[1] / rates[0]


def after_a_pause() -> float:
    """How many times as long the same few calls of the standard library take after 20 ms of sleep as one after another.

    What a process needs has left the processor's caches meanwhile: the latency of an idle worker is made of this.
    """

    def took() -> float:
        began = time.perf_counter()
        pickle.loads(pickle.dumps(json.loads(json.dumps({"a": [1, 2, {"b": "c"}]}))))
        sorted(f"{time.time():.3f}".split("."))
        return time.perf_counter() - began

    at_once = statistics.median(took() for _ in range(SAMPLES))
    rested: list[float] = []
    for _ in range(SAMPLES):
        time.sleep(0.02)
        rested.append(took())
    return statistics.median(rested) / at_once


async def woken(*, encoded: bool = False) -> float:
    """From one task to the first line of another that a third one starts, after a pause, the median in milliseconds.

    Args:
        encoded: a call with an id is pickled before, and unpickled by the one that is started.
    """
    told, begun = asyncio.Event(), asyncio.Event()
    taken: list[float] = []
    calls: dict[str, bytes] = {}
    runs: set[asyncio.Task[None]] = set()

    async def body(*_: object) -> None:
        taken.append(1000 * (time.perf_counter() - called))
        begun.set()

    async def decoded(call: bytes) -> None:
        args, kwargs = pickle.loads(call)
        await body(*args, **kwargs)

    async def worker() -> None:
        while True:
            await told.wait()
            told.clear()
            run = asyncio.create_task(decoded(calls.popitem()[1]) if calls else body())
            runs.add(run)
            run.add_done_callback(runs.discard)

    working = asyncio.create_task(worker())
    for number in range(SAMPLES):
        begun.clear()
        await asyncio.sleep(0.02 * random.uniform(0.5, 1.5))
        called = time.perf_counter()
        if encoded:
            calls[uuid7()] = pickle.dumps([[number], {}])
        told.set()
        await begun.wait()
    working.cancel()
    return statistics.median(taken)


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="docket-floors-") as folder,
        places(["redis", "postgres"], Path(folder)) as at,
    ):
        shares = [asyncio.run(by_a_thread(Path(folder) / "floor.db")) for _ in range(ROUNDS)]
        print(f"SQLite, inserts by way of a thread: {_shown(shares)}x of those in place")
        print(f"the same calls after a pause: {_shown([after_a_pause() for _ in range(ROUNDS)])}x as long as without")
        print(f"memory, told and begun: {_shown([asyncio.run(woken()) for _ in range(ROUNDS)])} ms")
        encoded = [asyncio.run(woken(encoded=True)) for _ in range(ROUNDS)]
        print(f"memory, the same with a call that is encoded and decoded: {_shown(encoded)} ms")
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way, (store, _, _) in WAYS.items():
                found[way].append(asyncio.run(_fresh_latency(way, at[store].probe)))
        for way, values in found.items():
            print(f"{way}: {_shown(values)} ms")


async def _fresh_latency(way: str, probe: Any) -> float:
    return await latency(way, await probe.fresh("floor"))


def _shown(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    if len(sys.argv) == 4:
        asyncio.run(produce(*sys.argv[1:]))
    else:
        main()
