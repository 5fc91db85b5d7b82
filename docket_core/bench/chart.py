"""Results as a picture: an SVG of bars, written by hand, that can be read on light and on dark ground."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from docket_core.bench.metrics import Metric
from docket_core.bench.results import Results
from docket_core.bench.tables import number

CHARTED = ("add", "add-together", "add-many", "drain-10", "drain-100", "latency-p50", "lateness-p99")
"""The metrics that are drawn unless others are named."""
WIDTH = 760
_LEFT, _RIGHT, _TOP = 190, 150, 34
_BAR, _GAP, _TITLE, _BETWEEN = 16, 5, 24, 16
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .note { fill: #57606a } .spread { stroke: #24292f; stroke-width: 1.5 }
  .bar { fill: #2f81f7 } .peer { fill: #8c959f } .limit { fill: #bf8700 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9198a1 } .spread { stroke: #e6edf3 }
    .peer { fill: #6e7681 } .limit { fill: #d29922 }
  }
"""


def svg(results: Results, metrics: Sequence[str] = CHARTED, *, by_store: bool = False) -> str:
    """A group of bars for each metric, one bar for each contestant that has a figure, with its spread as a line.

    Args:
        by_store: a group for each metric and store, each to a scale of its own.
    """
    stores = dict.fromkeys(about["store"] for about in results.contestants.values())
    groups = [(store, [n for n, about in results.contestants.items() if about["store"] == store]) for store in stores]
    parts: list[str] = []
    y = _TOP
    for metric in results.metrics():
        if metric.key in metrics:
            for store, names in groups if by_store else [("", list(results.contestants))]:
                title = f"{store}: {metric.title}" if store else metric.title
                group, y = _group(results, metric, title, names, y)
                parts += group
    title = "docket-core benchmark: medians and spread"
    about = escape(f"{results.machine.get('cpu')}, {results.machine.get('cores')} cores, {results.date[:10]}")
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">'
    first = f'<text x="10" y="20" class="title">{title}</text><text x="320" y="20" class="note">{about}</text>'
    return "\n".join([head, f"<title>{title}</title>", f"<style>{_STYLE}</style>", first, *parts, "</svg>"]) + "\n"


def _group(results: Results, metric: Metric, title: str, names: Sequence[str], y: int) -> tuple[list[str], int]:
    figures = [(name, figure) for name in names if (figure := results.figure(name, metric.key)) is not None]
    top = max((figure.high for _, figure in figures), default=0.0)
    if not top:
        return [], y
    scale = (WIDTH - _LEFT - _RIGHT) / top
    better = "higher is better" if metric.higher_is_better else "lower is better"
    parts = [
        f'<text x="10" y="{y + 14}" class="title">{escape(title)}</text>'
        f'<text x="{WIDTH - 10}" y="{y + 14}" class="note" text-anchor="end">{escape(metric.unit)}, {better}</text>'
    ]
    y += _TITLE
    for name, figure in figures:
        kind = {"peer": "bar peer", "limit": "bar limit"}.get(results.contestants[name]["kind"], "bar")
        low, end, high = (_LEFT + scale * value for value in (figure.low, figure.median, figure.high))
        middle = y + _BAR // 2
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_LEFT}" y="{y}" width="{max(1.0, end - _LEFT):.1f}" height="{_BAR}" rx="2" class="{kind}"/>'
            f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" class="spread"/>'
            f'<text x="{max(end, high) + 8:.1f}" y="{y + 12}">{number(figure.median)}</text>'
        )
        y += _BAR + _GAP
    return parts, y + _BETWEEN
