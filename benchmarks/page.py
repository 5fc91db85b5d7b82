"""`docs/benchmarks.md` and its chart, from the figures of a run: ratios first, the worst at the top."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.targets import Verdict, judge
from docket_core.bench.chart import svg
from docket_core.bench.metrics import BY_KEY
from docket_core.bench.results import Results
from docket_core.bench.tables import failures, markdown_rows, number, where

CHARTED = ("drain-100", "add", "latency-p50")
BRIEFLY = ("drain-10",)
"""Work done at the default concurrency: what most will see."""

_METHOD = """\
## How it is measured

- *Side by side.* A round runs every scenario, each on all contestants, one after the other (A B C of the first, A B C
  of the second, …), on one machine, servers, producers and workers together. Shown are medians, with the lowest and
  the highest round.
- *The same code.* A contestant is a process that hosts a framework and does what scenarios ask for: `docket_core/bench`
  times docket-core, each peer (`benchmarks/peers`, in an environment of its own, by its public API) and the stores' own
  limits (`benchmarks/limits.py`) alike.
- *The task* is an async function (for thread pools: a plain one) that takes a small int and a small str and does
  nothing but write down when it was started, in memory that all processes share.
- *Defaults.* docket-core runs with what a user gets: results and records kept, leases and fencing on, SQLite with
  `synchronous=full`, workers' garbage collector as `docket worker` sets it; log level WARNING for all. Each scenario
  finds its store empty.
- *Drain*: a backlog, sized so that a round takes one or two seconds, worked off by one worker process that is already
  up; from the first task's start until the store has recorded all as done. For peers it ends with the *start* of the
  last task, which is earlier.
- *Latency*: from the call of `add` in one process to the first line of the task in another, the worker being idle. In
  memory both share one event loop.
- *Lateness*: from a task's due time to its first line, one task due every 10 ms.
- *At once*: 5,000 tasks due at one instant; the last start after that, by the time 5,000 tasks take that are ready.
  Both begin after a pause of a second, as a machine that was idle is slower for a while.
- *Claims where many wait*: of eight rows of claims, with pauses, the quickest; once where 1,000 tasks wait, and once
  where very many do.
- *Limits* are bare loops on the store: they promise nothing but a commit.
"""


def write(results: Results, folder: Path) -> None:
    """Write the page, its chart, and the one that the README shows."""
    (folder / "benchmarks.md").write_text(render(results), encoding="utf-8")
    (folder / "benchmarks.svg").write_text(chart(results), encoding="utf-8")
    (folder / "drain.svg").write_text(chart(results, BRIEFLY), encoding="utf-8")


def chart(results: Results, metrics: Sequence[str] = CHARTED) -> str:
    """The chart as SVG: for each store on its own, docket-core, peers and limit."""
    return svg(results, metrics, by_store=True)


def render(results: Results) -> str:
    """The page as Markdown."""
    verdicts = judge(results)
    missed = sum(not verdict.met for verdict in verdicts)
    lines = [
        "# Benchmarks",
        "",
        "Figures of one machine on one day: the ratios say something, the absolute ones only beside each other.",
        "This page is written by `python -m benchmarks`, never by hand; gaps under 1.5x are within what machines do.",
        "",
        *where(results),
        *_stores(results),
        *_busy(results),
        "",
        "![Medians and spread, by store](benchmarks.svg)",
        "",
        "## Ratios and targets",
        "",
        f"{len(verdicts) - missed} of {len(verdicts)} targets are met. The worst come first; what stands against them",
        "is in [ADR 0015](adr/0015-targets-out-of-reach.md).",
        "",
        "| | figure | store | ratio or value | target | measured | against |",
        "|---|---|---|---:|---:|---:|---|",
        *(_row(verdict) for verdict in verdicts),
        "",
        "## All figures",
        "",
        *_by_store(results),
    ]
    if failed := failures(results):
        lines += ["## What failed", "", *failed, ""]
    lines += [
        _METHOD,
        "## Again, on your machine",
        "",
        '```sh title="not run here: it takes an hour"',
        "# all of this; installs the peers first",
        _command(results),
        "# a part of it",
        "python -m benchmarks --stores redis --peers dramatiq --no-page --output redis.json",
        "# docket-core alone, on stores of yours; then what has become better or worse, and what is noise",
        "docket bench redis://localhost sqlite:///bench.db",
        "docket bench --compare before.json after.json",
        "```",
    ]
    return "\n".join(lines) + "\n"


def _command(results: Results) -> str:
    """What measures the same again."""
    given = [f"--{name} {results.settings[name]}" for name in ("rounds", "soak", "depth") if results.settings.get(name)]
    return " ".join(["python -m benchmarks", *given])


def _stores(results: Results) -> Iterator[str]:
    versions = results.settings.get("stores", {})
    if versions:
        yield f"Stores: {'; '.join(versions[store] for store in sorted(versions) if store != 'memory')}."


def _busy(results: Results) -> Iterator[str]:
    load, cores = results.machine.get("load"), results.machine.get("cores")
    if load and cores and load > cores:
        yield "**The machine was busy with other things: take these figures for a trial.**"


def _row(verdict: Verdict) -> str:
    metric = BY_KEY[verdict.target.metric]
    sign = "≥" if verdict.higher_is_better else "≤"
    mark = "met" if verdict.met else "**not met**"
    unit = "x" if verdict.other else metric.unit
    against = ""
    if verdict.other and verdict.other_value is not None:
        against = f"{number(verdict.other_value)}: {verdict.target.against} ({verdict.other})"
    if verdict.target.note:
        against = f"{against}, {verdict.target.note}".lstrip(", ")
    cells = (mark, metric.title, verdict.store, f"**{number(verdict.value)}** {unit}", f"{sign} {verdict.bound:g}")
    return f"| {' | '.join(cells)} | {number(verdict.measured)} {metric.unit} | {against} |"


def _by_store(results: Results) -> Iterator[str]:
    stores = dict.fromkeys(about["store"] for about in results.contestants.values())
    for store in stores:
        yield f"### {store.capitalize()}"
        yield ""
        told = {name for name, _ in results.values}
        names = [name for name, about in results.contestants.items() if about["store"] == store and name in told]
        yield from markdown_rows(results, names)
        yield ""
