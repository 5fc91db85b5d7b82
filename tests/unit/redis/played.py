"""A Redis that is played in this process, at a moment that the test chooses, and all that is kept in it."""

from collections.abc import Callable
from typing import Any, cast

import fakeredis

from docket_redis.connection import Argument, Reply
from docket_redis.lua import script

PREFIX = "docket:{orders}:"
NOW = 1_900_000_000_000_000
SECOND = 1_000_000


class Docket:
    """Runs scripts at a moment that the test chooses."""

    def __init__(self) -> None:
        self.client = fakeredis.FakeRedis()
        self.now = NOW

    def run(self, name: str, *arguments: Argument, retention: int = 0) -> Reply:
        text = script(name).text.decode()
        return self.client.eval(text, 1, PREFIX, self.now, retention, *arguments)  # pyright: ignore[reportUnknownMemberType]

    def add(self, key: str, *, policy: str = "keep", kind: str = "n", moment: int = 0, payload: bytes = b"p") -> Reply:
        script = "enqueue" if policy == "keep" else "replace"
        return self.run(script, policy, key, "work", f"run-{key}-{policy}", kind, moment, 1, 0, payload, b"")

    def claim(self) -> list[bytes]:
        return cast("list[bytes]", self.run("claim", "worker", 10, 30 * SECOND, "", 0, "", "work")[2])

    def complete(self, key: str, token: bytes, *, retention: int = 0) -> Reply:
        return self.run("ack", key, 1, token, "C", "", 0, retention=retention)

    def names(self) -> list[str]:
        return [str(name, "utf-8") for name in self.client.scan_iter() if isinstance(name, bytes)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]

    def keys(self) -> set[str]:
        return {name.removeprefix(PREFIX) for name in self.names()}


def content(docket: Docket) -> dict[str, object]:
    """All that is kept, by its key."""
    client: Any = docket.client

    def ranked(name: str) -> object:
        return client.zrange(name, 0, -1, withscores=True)

    readers: dict[bytes, Callable[[str], object]] = {
        b"hash": client.hgetall,
        b"stream": client.xrange,
        b"string": client.get,
        b"zset": ranked,
    }
    return {name: readers[client.type(name)](name) for name in docket.names()}
