"""What truly differs between backends, as plain data.

A capability is a fact that a caller can act on before anything is written. What is absent is refused
at the earliest moment with its name, and removes the tests of the conformance suite that need it.
"""

from dataclasses import dataclass
from enum import StrEnum

MEBIBYTE = 1024 * 1024


class Durability(StrEnum):
    """What an acknowledged write survives, as the store is set up when it is opened."""

    NONE = "none"
    """Lives and ends with the process that holds it."""
    PROCESS = "process"
    """Survives the end of every client, but a crash of the store or machine may lose the latest."""
    FSYNC = "fsync"
    """On disk before it is acknowledged: survives a crash of the store and of the machine."""
    REPLICATED = "replicated"
    """On more than one machine, but a failover may lose what was not yet copied."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend, as it was opened, can do."""

    durable: bool
    """Tasks outlive the processes that use the store."""
    distributed: bool
    """Several processes can open the same store."""
    push: bool
    """`wait` and `subscribe` are woken by the store; without it they are served by polling, and `wait` may sleep on
    until its end."""
    transactional: bool
    """`join` puts tasks into a transaction of the caller's own."""
    time_resolution: int = 1
    """The smallest difference between two times that the store tells apart, in microseconds."""
    max_payload: int = MEBIBYTE
    """The largest payload or result that is taken, in bytes."""
    durability: Durability = Durability.NONE
    """What an acknowledged write survives."""
