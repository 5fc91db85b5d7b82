"""The peers that are compared: where each stands, what it needs installed, and how it is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ADDING = ("add", "add-together", "add-many")
DRAINING = ("drain-10", "drain-100")
LATENCY = ("latency",)


@dataclass(frozen=True)
class Peer:
    """One peer on one store, set up in one way."""

    name: str
    store: str
    module: str
    """Of this package."""
    requirements: tuple[str, ...]
    """The first one is the peer itself."""
    scenarios: tuple[str, ...] = (*ADDING, *DRAINING, *LATENCY)
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    processes: bool = True

    @property
    def environment(self) -> str:
        """The name of the folder with its environment; peers of one distribution share it."""
        return self.module.removeprefix("on_")


_PYDOCKET = ("pydocket",)
_HUEY = ("huey", "redis")
PEERS = (
    Peer("pydocket", "redis", "on_pydocket", _PYDOCKET),
    Peer("pydocket tuned", "redis", "on_pydocket", _PYDOCKET, (*DRAINING, *LATENCY), {"tuned": True}),
    Peer("taskiq stream", "redis", "on_taskiq", ("taskiq", "taskiq-redis")),
    Peer("dramatiq", "redis", "on_dramatiq", ("dramatiq", "redis")),
    Peer("huey redis", "redis", "on_huey", _HUEY),
    Peer("huey sqlite", "sqlite", "on_huey", _HUEY),
    Peer("pgqueuer", "postgres", "on_pgqueuer", ("pgqueuer", "asyncpg")),
    Peer("APScheduler", "memory", "on_apscheduler", ("apscheduler>=4.0.0a5",), processes=False),
)
"""All of them."""
