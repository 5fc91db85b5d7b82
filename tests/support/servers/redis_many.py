"""Several Redis servers that work together: a cluster, and a master with a replica that sentinels watch."""

import atexit
import time
from collections.abc import Awaitable, Callable
from functools import cache
from types import TracebackType
from typing import Self, TypeVar, cast

from tests.support.servers.ports import free_port
from tests.support.servers.redis import RedisServer, closing_connections

_SLOTS = 16384
_WITHIN = 20.0
_BUS = 10_000
"""Nodes of a cluster talk to one another on a port that is so much higher."""


def until(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as the condition holds; look often."""
    deadline = time.monotonic() + _WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {_WITHIN:g} seconds: {what}")
        time.sleep(0.02)


def _serves(node: RedisServer) -> bool:
    return node.cluster_info()["cluster_state"] == "ok"


def _in_step(replica: RedisServer) -> bool:
    return replica.info("replication").get("master_link_status") == "up"


class _Several:
    """Servers that start and stop together."""

    servers: list[RedisServer]

    def start(self) -> None:
        raise NotImplementedError

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

    def remove(self) -> None:
        for server in self.servers:
            server.remove()


SeveralT = TypeVar("SeveralT", bound=_Several)


class RedisCluster(_Several):
    """Three masters that share the slots, and a replica of each if asked for."""

    def __init__(self, binary: str | None = None, *, replicas: bool = False) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000")
        self.servers = [RedisServer(binary, *options, port=free_port(_BUS)) for _ in range(6 if replicas else 3)]
        self.masters, self.replicas = self.servers[:3], self.servers[3:]

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.masters[:2])}"

    def start(self) -> None:
        for number, server in enumerate(self.servers):
            server.start()
            if number < 3:
                slots = range(_SLOTS * number // 3, _SLOTS * (number + 1) // 3)
                server.command("CLUSTER", "ADDSLOTS", *slots)
            server.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            self.servers[0].command("CLUSTER", "MEET", "127.0.0.1", server.port)
        until(lambda: all(map(self._knows_all, self.servers)), "all nodes know one another")
        for master, replica in zip(self.masters, self.replicas, strict=False):
            replica.command("CLUSTER", "REPLICATE", self.identity(master))
        until(lambda: all(map(_serves, self.servers)), "all slots are served")
        until(lambda: all(map(_in_step, self.replicas)), "the replicas are in step")

    def identity(self, server: RedisServer) -> str:
        return cast("bytes", server.command("CLUSTER", "MYID")).decode()

    def owner(self, prefix: str) -> RedisServer:
        """The node that has the slot of these keys."""
        slot = cast("int", self.masters[0].command("CLUSTER", "KEYSLOT", prefix))
        return self.masters[min(slot * 3 // _SLOTS, 2)]

    def move_slot(self, prefix: str, source: RedisServer, target: RedisServer) -> None:
        """Move these keys' slot to another master, as an operator who reshards does."""
        slot = cast("int", source.command("CLUSTER", "KEYSLOT", prefix))
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.identity(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.identity(target))
        while keys := cast("list[bytes]", source.command("CLUSTER", "GETKEYSINSLOT", slot, 100)):
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *self.masters):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", self.identity(target))

    def fail_over(self, master: RedisServer) -> None:
        """Kill this master once its replica has all it wrote; return when the replica has taken over."""
        replica = self.replicas[self.masters.index(master)]
        until(lambda: master.command("WAIT", 1, 100) == 1, "the replica has everything")
        master.kill()
        left = [server for server in self.servers if server is not master]
        until(lambda: replica.info("replication")["role"] == "master", "the replica has taken over")
        until(lambda: all(map(_serves, left)), "all slots are served again")

    def _knows_all(self, server: RedisServer) -> bool:
        return server.cluster_info()["cluster_known_nodes"] == str(len(self.servers))


class Watched(_Several):
    """A master and a replica, and a sentinel that promotes the replica when the master is gone."""

    service = "main"

    def __init__(self, binary: str | None = None, *, down_after: int = 500) -> None:
        """`down_after`: milliseconds without a word of the master until it counts as gone."""
        self.down_after = down_after
        self.master = RedisServer(binary)
        self.replica = RedisServer(binary, "--replicaof", "127.0.0.1", str(self.master.port))
        self.sentinel = RedisServer(binary, sentinel=self._settings())
        self.servers = [self.sentinel, self.replica, self.master]

    @property
    def url(self) -> str:
        nobody = free_port()
        return f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{self.sentinel.port}/{self.service}"

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        until(lambda: _in_step(self.replica), "the replica is in step")
        self.sentinel.start()
        until(self._replica_is_known, "the sentinel knows the replica")

    def _replica_is_known(self) -> bool:
        told = cast("list[bytes]", self.sentinel.command("SENTINEL", "MASTER", self.service))
        return dict(zip(told[::2], told[1::2], strict=True))[b"num-slaves"] == b"1"

    def _settings(self) -> list[str]:
        name = self.service
        return [
            f"sentinel monitor {name} 127.0.0.1 {self.master.port} 1",
            f"sentinel down-after-milliseconds {name} {self.down_after}",
            f"sentinel failover-timeout {name} 3000",
        ]


@cache
def shared_cluster() -> RedisCluster:
    """A cluster of three masters that lives until the tests are over."""
    return _shared(RedisCluster())


@cache
def shared_watched() -> Watched:
    """A master, its replica and a sentinel that live until the tests are over; a busy machine is no failover."""
    return _shared(Watched(down_after=60_000))


def closing_all_connections(servers: list[RedisServer]) -> Callable[[], Awaitable[None]]:
    """A way to have every one of these servers close its clients' connections."""
    closers = [closing_connections(server.url) for server in servers]

    async def close() -> None:
        for closer in closers:
            await closer()

    return close


def _shared(several: SeveralT) -> SeveralT:
    several.__enter__()
    atexit.register(several.remove)
    return several
