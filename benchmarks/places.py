"""The stores that everybody is measured on: servers of our own, emptied for each scenario, and what they tell."""

import asyncio
import sqlite3
from collections.abc import Collection, Generator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import asyncpg

from docket_core.bench.contestants import Probe
from tests.support.servers import postgres, redis


class MemoryPlace:
    """Memory belongs to a process; there is nothing to ask."""

    async def fresh(self, name: str) -> str:
        return f"memory://{name}"

    async def commands(self) -> float | None:
        return None

    async def size(self) -> float | None:
        return None


class SqlitePlace:
    """A file for each scenario."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Path | None = None

    async def fresh(self, name: str) -> str:
        for left in self._folder.glob("bench-*"):
            left.unlink()
        self._file = self._folder / f"{name}.db"
        return f"sqlite:///{self._file}"

    async def commands(self) -> float | None:
        return None

    async def size(self) -> float | None:
        if self._file is None:
            return None
        connection = sqlite3.connect(self._file)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            asked = ("page_count", "freelist_count", "page_size")
            pages, free, size = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in asked)
        finally:
            connection.close()
        return float((pages - free) * size)


class RedisPlace:
    """A server that is flushed for each scenario."""

    def __init__(self, server: redis.RedisServer) -> None:
        self._server = server
        self._watch: Monitor | None = None

    async def fresh(self, name: str) -> str:
        del name
        if self._watch is not None:
            await self._watch.close()
            self._watch = None
        self._server.command("FLUSHALL")
        self._server.command("SCRIPT", "FLUSH")
        return self._server.url

    async def commands(self) -> float | None:
        if self._watch is None:
            self._watch = Monitor()
            await self._watch.open(self._server.port)
        return float(self._watch.seen)

    async def size(self) -> float | None:
        return float(self._server.info("memory")["used_memory"])


class Monitor:
    """Counts the commands that clients send to a Redis: `MONITOR` marks those of scripts, which are left out."""

    def __init__(self) -> None:
        self.seen = 0
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, port: int) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._writer.write(b"MONITOR\r\n")
        await reader.readline()
        self._task = asyncio.create_task(self._count(reader))

    async def close(self) -> None:
        if self._task is not None and self._writer is not None:
            self._writer.close()
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _count(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if b" lua] " not in line:
                self.seen += 1


class PostgresPlace:
    """A database for each scenario, on one server."""

    def __init__(self, server: postgres.PostgresServer) -> None:
        self._server = server
        self._numbers = count(1)
        self._database: str | None = None

    async def fresh(self, name: str) -> str:
        del name
        before, self._database = self._database, f"bench_{next(self._numbers)}"
        drop = [f"drop database {before} with (force)"] if before is not None else []
        await postgres.run_sql(self._server.url(), *drop, f"create database {self._database}")
        return self._server.url(self._database)

    async def commands(self) -> float | None:
        """Transactions that clients have ended; a statement outside of any is one."""
        connection = await asyncpg.connect(self._server.url())
        try:
            sql = "select xact_commit + xact_rollback from pg_stat_database where datname = $1"
            return float(await connection.fetchval(sql, self._database))
        finally:
            await connection.close()

    async def size(self) -> float | None:
        sql = (
            "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace "
            "where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')"
        )
        connection = await asyncpg.connect(self._server.url(self._database or "postgres"))
        try:
            return float(await connection.fetchval(sql))
        finally:
            await connection.close()


class Place(NamedTuple):
    """A store as everybody finds it."""

    url: str
    """One URL of it, to ask what its backend can do."""
    probe: Probe
    version: str


STORES = ("redis", "postgres", "sqlite", "memory")


@contextmanager
def places(stores: Collection[str], folder: Path) -> Generator[dict[str, Place], None, None]:
    """The stores of these names; servers live as long as this is entered."""
    with ExitStack() as stack:
        found: dict[str, Place] = {}
        if "redis" in stores:
            server = stack.enter_context(redis.RedisServer())
            release = server.info("server")["redis_version"]
            found["redis"] = Place(server.url, RedisPlace(server), f"Redis {release}, no persistence")
        if "postgres" in stores:
            database = stack.enter_context(postgres.PostgresServer("16"))
            release = str(asyncio.run(postgres.run_sql(database.url(), "show server_version"))[0][0])
            found["postgres"] = Place(database.url(), PostgresPlace(database), f"Postgres {release}, defaults")
        if "sqlite" in stores:
            url = f"sqlite:///{folder / 'docket.db'}"
            found["sqlite"] = Place(url, SqlitePlace(folder), f"SQLite {sqlite3.sqlite_version}")
        if "memory" in stores:
            found["memory"] = Place("memory://bench", MemoryPlace(), "this process")
        yield found
