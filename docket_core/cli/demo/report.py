"""The demo's end: a table for people, or JSON for programs."""

from rich.console import Console
from rich.table import Table

from docket_core.cli.demo.evidence import CHECKS, Evidence, totals
from docket_core.cli.demo.files import Plan


def print_report(out: Console, evidence: Evidence, pace: float) -> None:
    """The table, and what was checked."""
    table = Table(title="docket demo", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    found = totals(evidence.results)
    takers = ", ".join(f"{number} by {worker}" for worker, number in sorted(evidence.redelivered.items()))
    rate = f"each stretched to {pace * 1000:.0f} ms" if pace else "waiting for the dead worker's lease included"
    again = sum(evidence.redelivered.values())
    table.add_row("files", f"{len(evidence.expected):,}", f"{found.bytes:,} bytes, {found.lines:,} lines")
    table.add_row("done", f"{evidence.done:,}", f"in {evidence.run_seconds:.2f} s from first start to last end")
    table.add_row("redelivered", f"{again:,}", f"{takers or 'nobody took over'}; the killed one held {evidence.held}")
    table.add_row("struck", f"{evidence.struck:,}", "ended CANCELLED, added again after the restore")
    table.add_row("lost", f"{evidence.lost:,}", "files without a result", style="" if not evidence.lost else "bold red")
    table.add_row("tasks per second", f"{evidence.rate:,.0f}", f"{rate}; best second {evidence.best_second:,}")
    out.print(table)
    for name, held in evidence.checks.items():
        out.print(f"  [green]✓[/green] {CHECKS[name]}" if held else f"  [bold red]✗ not so: {CHECKS[name]}[/bold red]")
    out.print("[bold green]all is right[/bold green]" if evidence.right else "[bold red]not all is right[/bold red]")


def as_plain(evidence: Evidence, plan: Plan, place: str, pace: float) -> dict[str, object]:
    """The same as data."""
    return {
        "right": evidence.right,
        "url": place,
        "folder": str(plan.folder),
        "files": len(evidence.expected),
        "done": evidence.done,
        "redelivered": sum(evidence.redelivered.values()),
        "struck": evidence.struck,
        "lost": evidence.lost,
        "wrong": evidence.wrong,
        "tasks_per_second": round(evidence.rate, 1),
        "best_second": evidence.best_second,
        "seconds": round(evidence.run_seconds, 3),
        "pace": pace,
        "struck_kind": plan.struck_kind,
        "held_at_kill": evidence.held,
        "redelivered_by": dict(evidence.redelivered),
        "totals": totals(evidence.results)._asdict(),
        "plain_loop": totals(evidence.expected)._asdict() | {"seconds": round(evidence.loop_seconds, 3)},
        "checks": evidence.checks,
    }
