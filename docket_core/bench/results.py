"""What a run has measured: kept as JSON, read again for tables, charts and comparisons."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from docket_core.bench.contestants import Contestant
from docket_core.bench.metrics import BY_KEY, METRICS, Metric
from docket_core.errors import ConfigurationError

FORMAT = 1


@dataclass(frozen=True)
class Figure:
    """One metric of one contestant, round by round."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass
class Results:
    """Figures by contestant and metric, and where and how they were taken."""

    contestants: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """By name: `store`, `kind`, `versions`."""
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])
    failures: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    date: str = ""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, contestant: str, figures: Mapping[str, float]) -> None:
        """Take the figures of one round."""
        for metric, value in figures.items():
            self.values.setdefault((contestant, metric), []).append(value)

    def fail(self, contestant: str, scenario: str, why: str) -> None:
        """Take note of what went wrong."""
        self.failures.append({"contestant": contestant, "scenario": scenario, "why": why})

    def merge(self, newer: "Results") -> None:
        """Take over all that a later run measured, in place of what was there of the same contestants and metrics."""
        self.contestants |= newer.contestants
        self.values |= newer.values
        done = {(failure["contestant"], failure["scenario"]) for failure in newer.failures}
        done |= {(name, metric) for name, metric in newer.values}
        self.failures = [f for f in self.failures if (f["contestant"], f["scenario"]) not in done] + newer.failures
        self.machine, self.date = newer.machine, newer.date
        self.settings |= newer.settings

    def figure(self, contestant: str, metric: str) -> Figure | None:
        """What was measured; None if it was not."""
        values = self.values.get((contestant, metric))
        return Figure(values) if values else None

    def metrics(self) -> list[Metric]:
        """The metrics that somebody has a figure of, in the order of tables."""
        seen = {metric for _, metric in self.values}
        return [metric for metric in METRICS if metric.key in seen]

    def of_kind(self, *kinds: str) -> list[str]:
        """The names of the contestants of these kinds, in order."""
        return [name for name, about in self.contestants.items() if about["kind"] in kinds]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self.as_plain(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def as_plain(self) -> dict[str, Any]:
        """What the JSON holds."""
        rows: list[dict[str, Any]] = []
        for (contestant, key), values in self.values.items():
            figure, metric = Figure(values), BY_KEY[key]
            row = {"contestant": contestant, "metric": key, "unit": metric.unit, "values": values}
            rows.append(row | {"median": figure.median, "low": figure.low, "high": figure.high})
        return {
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "settings": self.settings,
            "contestants": self.contestants,
            "figures": rows,
            "failures": self.failures,
        }


def start(contestants: Sequence[Contestant], settings: Mapping[str, Any]) -> Results:
    """Empty results for a run that begins now, on this machine."""
    about = {c.name: {"store": c.store, "kind": c.kind, "versions": dict(c.versions)} for c in contestants}
    today = datetime.now(UTC).isoformat(timespec="seconds")
    return Results(about, machine=this_machine(), date=today, settings=dict(settings))


def read(path: Path) -> Results:
    """Results from a file.

    Raises:
        ConfigurationError: it is none that this version wrote.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["format"] != FORMAT:
            raise ConfigurationError(f"{path} has the format {plain['format']}, not {FORMAT}: measure anew")
        values = {(row["contestant"], row["metric"]): list(map(float, row["values"])) for row in plain["figures"]}
        known = {place: of for place, of in values.items() if place[1] in BY_KEY and of}
        return Results(
            plain["contestants"], known, plain["failures"], plain["machine"], plain["date"], plain["settings"]
        )
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is no result of docket bench: {error!r}") from error


def this_machine() -> dict[str, Any]:
    """What a reader must know of this machine to take a figure for what it is."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "docket-core": installed("docket-core"),
        "load": _load(),
    }


def installed(distribution: str) -> str:
    """The version of a distribution that is installed here."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _load() -> float | None:
    """How busy the machine was in the last minute: how many processes wanted to run."""
    try:
        return round(os.getloadavg()[0], 1)
    except (OSError, AttributeError):  # not every system counts it
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
