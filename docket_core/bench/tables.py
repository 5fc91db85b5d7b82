"""Results as a Markdown table and as a table for terminals: contestants side by side, medians with their spread."""

from collections.abc import Sequence

from rich.table import Table

from docket_core.bench.results import Figure, Results


def markdown(results: Results) -> str:
    """A table of metrics by contestants, with where and when it was measured, and what failed."""
    lines = [*where(results), "", *markdown_rows(results, list(results.contestants)), "", *failures(results)]
    return "\n".join(lines).rstrip() + "\n"


def markdown_rows(results: Results, names: Sequence[str]) -> list[str]:
    """The table alone, of the contestants that are named."""
    lines = [f"| median (lowest to highest) | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for metric in results.metrics():
        cells = [cell(results.figure(name, metric.key)) for name in names]
        if any(cells):
            lines.append(f"| {metric.title}, {metric.unit} | {' | '.join(cells)} |")
    return lines


def where(results: Results) -> list[str]:
    """Sentences that say where and when it was measured."""
    machine, settings = results.machine, results.settings
    told = f"{machine.get('cpu')}, {machine.get('cores')} cores, {machine.get('system')}, {machine.get('python')}"
    rounds = f", {settings['rounds']} interleaved rounds" if "rounds" in settings else ""
    if machine.get("load") is not None:
        rounds += f"; load average before it began: {machine['load']}"
    quick = " A quick run: its figures are good for a look only." if settings.get("quick") else ""
    lines = [f"Measured on {results.date[:10]}: {told}, docket-core {machine.get('docket-core')}{rounds}.{quick}"]
    versions = {
        f"{name} ({', '.join(f'{what} {number}' for what, number in about['versions'].items())})"
        for name, about in results.contestants.items()
        if about["versions"]
    }
    return [*lines, f"Versions: {'; '.join(sorted(versions))}."] if versions else lines


def failures(results: Results) -> list[str]:
    """A list of what went wrong."""
    return [
        f"- {failure['contestant']} failed at {failure['scenario']}: {failure['why'].splitlines()[0]}"
        for failure in results.failures
    ]


def cell(figure: Figure | None) -> str:
    """A median and its spread; an empty text where there is none."""
    if figure is None:
        return ""
    median = number(figure.median)
    if len(figure.values) == 1:
        return median
    return f"{median} ({number(figure.low)} to {number(figure.high)})"


def number(value: float) -> str:
    """A number in as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def for_terminal(results: Results, names: Sequence[str] | None = None) -> Table:
    """The same for people at a terminal."""
    shown = list(results.contestants) if names is None else list(names)
    table = Table("median (lowest to highest)", "unit")
    for name in shown:
        table.add_column(name, justify="right")
    for metric in results.metrics():
        cells = [cell(results.figure(name, metric.key)) for name in shown]
        if any(cells):
            table.add_row(metric.title, metric.unit, *cells)
    return table
