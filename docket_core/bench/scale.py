"""How much of everything a benchmark does."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from docket_core.bench.contestants import Field

DEFAULT_CONCURRENCY = 10
"""Of a worker, unless its user says something else."""


@dataclass(frozen=True)
class Scale:
    """Numbers of tasks, and seconds."""

    seconds: float = 1.0
    """How long adding goes on, in each round."""
    count: int = 1000
    """How many tasks are drained."""
    drain_seconds: float = 1.5
    """Drain about as many tasks as take so long; 0 takes `count` as it is."""
    samples: int = 150
    """Tasks whose latency is taken, and half of those whose lateness is."""
    at_once: int = 5000
    """Tasks that are due at one instant."""
    idle_seconds: float = 30.0
    """How long an idle worker is looked at; a server's own housekeeping, once a minute, should not weigh much."""
    stored: int = 10_000
    """Tasks whose size in the store is taken."""
    soak: int = 100_000
    """Tasks over which a worker's memory is looked at."""
    calm: float = 1.0
    """Seconds after which a worker has nothing left to do of its start."""
    ahead: float = 1.0
    """Seconds until the first task is due, of those that are added for later."""
    depth: int = 100_000
    """So many tasks wait where the time of a claim is taken, against the same at 1,000."""


QUICK = Scale(
    seconds=0.1,
    count=1000,
    drain_seconds=0.0,
    samples=30,
    at_once=500,
    idle_seconds=1.0,
    stored=1000,
    soak=2000,
    calm=0.3,
    ahead=0.4,
    depth=2000,
)
"""For a look, and for tests."""
Figures = Mapping[str, float]
"""By the key of the metric."""
Run = Callable[[Field, Scale], Awaitable[Figures]]


@dataclass(frozen=True)
class Scenario:
    """One scenario, and the metrics that it answers."""

    name: str
    run: Run
    metrics: Sequence[str]
    sized: bool = False
    """Whether the number of its tasks is measured first, so that a round takes a second or two."""
    once: bool = False
    """Whether one round says it all."""
    needs_processes: bool = False
    """Whether it makes no sense where all happens in one loop."""
