"""Two runs compared: what is better, what is worse, and what is within the noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from rich.table import Table

from docket_core.bench.metrics import METRICS, Metric
from docket_core.bench.results import Figure, Results
from docket_core.bench.tables import cell

NOISE = 0.10
"""A change of less than a tenth is noise, however steady the rounds were."""


class Judgement(StrEnum):
    """What a change is worth."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "noise"


@dataclass(frozen=True)
class Row:
    """One metric of one contestant, before and after."""

    contestant: str
    metric: Metric
    before: Figure
    after: Figure
    judgement: Judgement

    @property
    def ratio(self) -> float:
        """The median after, by the one before."""
        return self.after.median / self.before.median if self.before.median else float("nan")


def compare(before: Results, after: Results, noise: float = NOISE) -> list[Row]:
    """Every metric that both have, of every contestant that both have."""
    return list(_rows(before, after, noise))


def judge(metric: Metric, before: Figure, after: Figure, noise: float = NOISE) -> Judgement:
    """A change counts if it is larger than the noise and the rounds of before and after do not overlap."""
    overlap = before.low <= after.high and after.low <= before.high
    small = abs(after.median - before.median) <= noise * abs(before.median)
    if overlap or small:
        return Judgement.NOISE
    return Judgement.BETTER if (after.median > before.median) is metric.higher_is_better else Judgement.WORSE


def as_table(rows: list[Row]) -> Table:
    """The comparison for people."""
    table = Table("contestant", "metric", "unit")
    for title in ("before", "after", "ratio"):
        table.add_column(title, justify="right")
    table.add_column("")
    styles = {Judgement.BETTER: "green", Judgement.WORSE: "bold red", Judgement.NOISE: "dim"}
    for row in rows:
        ratio = f"{row.ratio:.2f}"
        about = (row.contestant, row.metric.title, row.metric.unit, cell(row.before), cell(row.after), ratio)
        table.add_row(*about, row.judgement.value, style=styles[row.judgement])
    return table


def as_plain(rows: list[Row]) -> list[dict[str, object]]:
    """The comparison for programs."""
    return [
        {
            "contestant": row.contestant,
            "metric": row.metric.key,
            "before": row.before.median,
            "after": row.after.median,
            "ratio": row.ratio,
            "judgement": row.judgement.value,
        }
        for row in rows
    ]


def _rows(before: Results, after: Results, noise: float) -> Iterator[Row]:
    for name in after.contestants:
        for metric in METRICS:
            old, new = before.figure(name, metric.key), after.figure(name, metric.key)
            if old is not None and new is not None:
                yield Row(name, metric, old, new, judge(metric, old, new, noise))
