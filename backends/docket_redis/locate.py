"""Which server a docket is on now: one that is named, one that sentinels tell, or the cluster's node for its slot."""

from typing import Protocol

from docket_core.errors import BackendUnavailable
from docket_redis.address import Address, Node, Topology
from docket_redis.connection import Connection, Reply, ServerError, connect


class Locator(Protocol):
    """Finds the server."""

    async def node(self) -> Node:
        """Where the docket is now.

        Raises:
            BackendUnavailable: nobody who can be reached knows.
        """
        ...


class Named:
    """The one server of the URL."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def node(self) -> Node:
        return self._node


class Asking:
    """Asks one after the other of those that may know, the last one that knew first."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._known = list(address.nodes)

    async def node(self) -> Node:
        failure: Exception | None = None
        for one in tuple(self._known):
            try:
                found = await self._ask(one)
            except (BackendUnavailable, ServerError) as error:
                failure = error
                continue
            if found is not None:
                self._prefer(one)
                return found
        raise BackendUnavailable(f"none of {', '.join(map(str, self._known))} tells where the docket is: {failure}")

    async def answer(self, connection: Connection, asked: Node) -> Node | None:
        """What the connected one says; None if it does not know."""
        raise NotImplementedError

    def learn(self, nodes: list[Node]) -> None:
        """Others that may know as well; those of the URL are never forgotten."""
        self._known = list(dict.fromkeys([*nodes, *self.address.nodes]))

    def _prefer(self, node: Node) -> None:
        self._known = list(dict.fromkeys([node, *self._known]))

    async def _ask(self, node: Node) -> Node | None:
        login = self.address.sentinel_login if self.address.topology is Topology.SENTINEL else None
        connection = await connect(self.address, node, login=login)
        try:
            return await self.answer(connection, node)
        finally:
            connection.close()


class BySentinel(Asking):
    """The master of a service, as its sentinels know it."""

    async def answer(self, connection: Connection, asked: Node) -> Node | None:
        told = await connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.address.service)
        return None if told is None else Node(told[0].decode(), int(told[1]))


class BySlot(Asking):
    """The master of the slot that all keys of a docket are in, because they have one hash tag."""

    def __init__(self, address: Address, prefix: str) -> None:
        super().__init__(address)
        self._prefix = prefix

    async def answer(self, connection: Connection, asked: Node) -> Node | None:
        slot = await connection.call("CLUSTER", "KEYSLOT", self._prefix)
        ranges = await connection.call("CLUSTER", "SLOTS")
        self.learn([_node_of(node, asked) for _, _, *nodes in ranges for node in nodes])
        for first, last, master, *_ in ranges:
            if first <= slot <= last:
                return _node_of(master, asked)
        return None


def _node_of(entry: Reply, asked: Node) -> Node:
    """A node as CLUSTER SLOTS tells it; a node that does not know its own host leaves it out."""
    host = entry[0].decode() if entry[0] else ""
    return Node(asked.host if host in {"", "?"} else host, int(entry[1]))


def locator(address: Address, prefix: str) -> Locator:
    """What finds the server of a docket whose keys begin with `prefix`."""
    if address.topology is Topology.SENTINEL:
        return BySentinel(address)
    if address.topology is Topology.CLUSTER:
        return BySlot(address, prefix)
    return Named(address.nodes[0])
