"""What the stores themselves allow from Python: bare writes, and bare loops that take and delete, as contestants.

`python -m benchmarks.limits STORE` is the process of one. Nothing is promised here beyond a commit: no results, no
leases, no duplicates refused. A framework on the store can come near these figures, never past them.
"""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from benchmarks.wire import Wire
from docket_core.bench.agent import Subject, serve
from docket_core.bench.marks import Marks

PAYLOAD = b"x" * 40
SCENARIOS = frozenset({"add", "add-many", "bare-10", "bare-100"})


class RedisLimit(Subject):
    """A stream: one script that appends, pipelines of appends, a group that reads and acknowledges in batches."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        self._wire = await Wire(url).__aenter__()
        self._add = ("EVALSHA", await self._wire.ask("SCRIPT", "LOAD", _APPEND), 1, name, PAYLOAD)
        self._name = name

    async def add(self, number: int) -> None:
        await self._wire.ask(*self._add)

    async def add_many(self, numbers: Sequence[int]) -> None:
        await self._wire.pipeline([("XADD", self._name, "*", "p", PAYLOAD)] * len(numbers))

    async def bare(self, batch: int, count: int) -> float:
        await self._wire.ask("XGROUP", "CREATE", self._name, "group", "0", "MKSTREAM")
        for start in range(0, count, 1000):
            await self.add_many(range(start, min(count, start + 1000)))
        began, done = time.perf_counter(), 0
        while done < count:
            reply = await self._wire.ask(
                "XREADGROUP", "GROUP", "group", "me", "COUNT", batch, "STREAMS", self._name, ">"
            )
            ids = [entry[0] for entry in reply[0][1]]
            await self._wire.pipeline([("XACK", self._name, "group", *ids), ("XDEL", self._name, *ids)])
            done += len(ids)
        return time.perf_counter() - began


_APPEND = "return redis.call('XADD', KEYS[1], '*', 'p', ARGV[1])"


class PostgresLimit(Subject):
    """One table: an insert, an insert of many, and a statement that takes and deletes with SKIP LOCKED."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        self._connection = await asyncpg.connect(url)
        await self._connection.execute(
            "create table q (id bigint generated always as identity primary key, payload bytea not null)"
        )
        prepare = self._connection.prepare
        self._one = await prepare("insert into q (payload) values ($1)")
        self._many = await prepare("insert into q (payload) select unnest($1::bytea[])")
        self._take = await prepare(
            "delete from q where id = any(array(select id from q order by id limit $1 for update skip locked))"
            " returning payload"
        )

    async def close(self) -> None:
        await self._connection.close()

    async def add(self, number: int) -> None:
        await self._one.fetch(PAYLOAD)

    async def add_many(self, numbers: Sequence[int]) -> None:
        await self._many.fetch([PAYLOAD] * len(numbers))

    async def bare(self, batch: int, count: int) -> float:
        await self.add_many(range(count))
        began, done = time.perf_counter(), 0
        while done < count:
            done += len(await self._take.fetch(batch))
        return time.perf_counter() - began


class SqliteLimit(Subject):
    """One table, synchronous=FULL as docket-core has it by default, one transaction each."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE q (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
        ):
            self._connection.execute(statement)

    async def close(self) -> None:
        self._connection.close()

    async def add(self, number: int) -> None:
        self._connection.execute("INSERT INTO q (payload) VALUES (?)", (PAYLOAD,))

    async def add_many(self, numbers: Sequence[int]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO q (payload) VALUES (?)", [(PAYLOAD,)] * len(numbers))
        self._connection.execute("COMMIT")

    async def bare(self, batch: int, count: int) -> float:
        await self.add_many(range(count))
        take = "DELETE FROM q WHERE id IN (SELECT id FROM q ORDER BY id LIMIT ?) RETURNING payload"
        began, done = time.perf_counter(), 0
        while done < count:
            done += len(self._connection.execute(take, (batch,)).fetchall())
        return time.perf_counter() - began


class MemoryLimit(Subject):
    """asyncio tasks of a function that does nothing."""

    async def open(self, url: str, name: str, settings: dict[str, Any], marks: Marks) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def add(self, number: int) -> None:
        self._tasks.append(asyncio.create_task(_nothing(number, "text")))
        if len(self._tasks) >= 100:
            await self._run()

    async def add_many(self, numbers: Sequence[int]) -> None:
        self._tasks += [asyncio.create_task(_nothing(number, "text")) for number in numbers]
        await self._run()

    async def bare(self, batch: int, count: int) -> float:
        began = time.perf_counter()
        for start in range(0, count, batch):
            await self.add_many(range(start, start + batch))
        return time.perf_counter() - began

    async def _run(self) -> None:
        await asyncio.sleep(0)
        self._tasks.clear()


async def _nothing(number: int, text: str) -> None:
    del number, text


LIMITS = {"redis": RedisLimit, "postgres": PostgresLimit, "sqlite": SqliteLimit, "memory": MemoryLimit}

if __name__ == "__main__":
    asyncio.run(serve(LIMITS[sys.argv[1]]()))
