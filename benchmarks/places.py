"""The stores that everybody is measured on: servers of our own, emptied for each scenario, and what they tell."""

import asyncio
import socket
import sqlite3
from collections.abc import Collection, Generator
from contextlib import ExitStack, closing, contextmanager, suppress
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
        self.close()
        self._server.command("FLUSHALL")
        self._server.command("SCRIPT", "FLUSH")
        return self._server.url

    async def commands(self) -> float | None:
        if self._watch is None:
            self._watch = Monitor(self._server.port)
        return float(self._watch.count())

    def close(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    async def size(self) -> float | None:
        return float(self._server.info("memory")["used_memory"])


class Monitor:
    """Counts the commands that clients send to a Redis: `MONITOR` marks those of scripts, which are left out."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.sendall(b"MONITOR\r\n")
        self._rest = b""
        self._seen = 0
        while b"\r\n" not in self._rest:
            self._rest += self._socket.recv(65536)
        self._rest = self._rest.partition(b"\r\n")[2]
        self._socket.setblocking(False)

    def count(self) -> int:
        """How many there were since it was opened."""
        with suppress(BlockingIOError):
            while data := self._socket.recv(65536):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\r\n")
        self._seen += sum(b" lua] " not in line for line in lines)
        return self._seen

    def close(self) -> None:
        self._socket.close()


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
            place = stack.enter_context(closing(RedisPlace(server)))
            found["redis"] = Place(server.url, place, f"Redis {release}, no persistence")
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
