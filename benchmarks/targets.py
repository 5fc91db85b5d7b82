"""What is aimed at, as data: ratios to the best peer and to the store's own limit, and bounds that stand alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from docket_core.bench.metrics import BY_KEY
from docket_core.bench.results import Results


class Against(StrEnum):
    """What a figure is held against."""

    PEER = "best peer"
    LIMIT = "store's limit"
    BARE = "own bare loop"
    NOTHING = ""
    """The target is a bound in the metric's own unit."""


@dataclass(frozen=True)
class Target:
    """One figure, what it is held against, and how far it should reach on each store."""

    metric: str
    against: Against
    of: Sequence[str]
    """The other side's metrics; the best of them counts."""
    targets: Mapping[str, float]
    """By store; at least so much where higher is better, else at most."""
    note: str = ""


def _stores(redis: float, postgres: float, sqlite: float, memory: float) -> dict[str, float]:
    return {"redis": redis, "postgres": postgres, "sqlite": sqlite, "memory": memory}


_BULK = ("add-many", "add-together", "add")
TARGETS = (
    Target("drain-100", Against.PEER, ("drain-100", "drain-10"), _stores(5, 1.5, 4, 20)),
    Target("drain-10", Against.PEER, ("drain-10",), _stores(3, 3, 3, 15)),
    Target("drain-100", Against.BARE, ("bare-100",), _stores(0.4, 0.4, 0.4, 0.13)),
    Target("add", Against.LIMIT, ("add",), _stores(0.6, 0.7, 0.5, 0.1)),
    Target("add-together", Against.PEER, _BULK, _stores(1, 0.4, 3, 1), "its best way in bulk"),
    Target("add-many", Against.PEER, _BULK, _stores(2, 0.7, 6, 1), "its best way in bulk"),
    Target("latency-p50", Against.PEER, ("latency-p50",), _stores(1, 0.8, 0.3, 0.7)),
    Target("lateness-p99", Against.NOTHING, (), _stores(5, 8, 8, 3)),
    Target("at-once", Against.NOTHING, (), _stores(1.3, 1.3, 1.3, 1.3)),
    Target("redelivery", Against.NOTHING, (), {"redis": 3.5, "postgres": 3.5, "sqlite": 3.5}),
    Target("idle-commands", Against.NOTHING, (), {"redis": 2, "postgres": 2}),
    Target("idle-cpu", Against.NOTHING, (), _stores(1, 1, 1, 1)),
    Target("depth", Against.NOTHING, (), _stores(1.2, 1.5, 1.5, 1.2)),
    Target("bytes", Against.NOTHING, (), {"redis": 450, "postgres": 450, "sqlite": 450}),
    Target("memory", Against.NOTHING, (), _stores(70, 70, 70, 70)),
    Target("memory-growth", Against.NOTHING, (), _stores(5, 5, 5, 5), "flat, but for the noise of the allocator"),
)


@dataclass(frozen=True)
class Verdict:
    """A target, on one store, against what was measured."""

    target: Target
    store: str
    measured: float
    other: str
    """Who is on the other side; an empty text for nobody."""
    other_value: float | None
    value: float
    """What is held against the bound: the ratio, or the figure itself."""
    bound: float

    @property
    def higher_is_better(self) -> bool:
        return BY_KEY[self.target.metric].higher_is_better

    @property
    def margin(self) -> float:
        """Above 1 it is met, below 1 it falls short by that factor."""
        if self.higher_is_better:
            return self.value / self.bound
        return self.bound / self.value if self.value > 0 else float("inf")

    @property
    def met(self) -> bool:
        return self.margin >= 1


def judge(results: Results) -> list[Verdict]:
    """Every target that there are figures for, the worst first."""
    return sorted(_verdicts(results), key=lambda verdict: verdict.margin)


def _verdicts(results: Results) -> Iterator[Verdict]:
    ours = {results.contestants[name]["store"]: name for name in results.of_kind("ours")}
    for target in TARGETS:
        for store, bound in target.targets.items():
            figure = results.figure(ours.get(store, ""), target.metric)
            if figure is None:
                continue
            if target.against is Against.NOTHING:
                yield Verdict(target, store, figure.median, "", None, figure.median, bound)
            elif other := _other(results, target, store, ours[store]):
                name, value = other
                yield Verdict(target, store, figure.median, name, value, figure.median / value, bound)


def _other(results: Results, target: Target, store: str, own: str) -> tuple[str, float] | None:
    """The best on the other side, and how good it is."""
    kinds = {Against.PEER: "peer", Against.LIMIT: "limit"}
    sides = [own] if target.against is Against.BARE else results.of_kind(kinds[target.against])
    sides = [name for name in sides if results.contestants[name]["store"] == store]
    figures = [
        (name, figure.median)
        for name in sides
        for metric in target.of
        if (figure := results.figure(name, metric)) is not None
    ]
    if not figures:
        return None
    best = max if BY_KEY[target.metric].higher_is_better else min
    return best(figures, key=lambda pair: pair[1])
