"""Indexes by function and time, read for many functions at once."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heapreplace

from docket_lmdb.database import Tx, digest, number


def due(tx: Tx, table: bytes, functions: AbstractSet[str] | None, now: int) -> Iterator[bytes]:
    """The values in an index by function and time that are due, the oldest first over all these functions.

    Whoever takes one removes it from the index before asking for the next, or stops.
    """
    heads: list[tuple[bytes, bytes, bytes]] = []
    for function in among(tx, table, functions):
        head = _head(tx, table, function, now)
        if head is not None:
            heads.append(head)
    heapify(heads)
    while heads:
        place, function, value = heads[0]
        yield value
        head = _head(tx, table, function, now)
        if head is None or head[0] == place:
            heappop(heads)
        else:
            heapreplace(heads, head)


def earliest(tx: Tx, table: bytes, functions: AbstractSet[str] | None) -> int | None:
    """The smallest time in an index by function and time."""
    firsts = (tx.first(table + function) for function in among(tx, table, functions))
    return min((int.from_bytes(first[0][17:25], "big") for first in firsts if first is not None), default=None)


def among(tx: Tx, table: bytes, functions: AbstractSet[str] | None) -> Iterator[bytes]:
    return tx.groups(table) if functions is None else (digest(function) for function in functions)


def _head(tx: Tx, table: bytes, function: bytes, now: int) -> tuple[bytes, bytes, bytes] | None:
    first = tx.first(table + function)
    if first is None or first[0][17:25] > number(now):
        return None
    return first[0][17:], function, first[1]
