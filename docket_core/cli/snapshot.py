"""`docket snapshot`"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.table import Table

from docket_core.cli.durations import show_duration
from docket_core.cli.output import console, print_json, printable, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket
from docket_core.cli.strikes import describe
from docket_core.cli.workers import as_plain, workers_table
from docket_core.execution import Execution
from docket_core.snapshot import LISTED, DocketSnapshot, RunningExecution


@dataclass(frozen=True)
class View:
    """A snapshot, and what else is shown with it."""

    docket: str
    place: str
    strikes: list[str]
    snapshot: DocketSnapshot

    @property
    def totals(self) -> dict[str, int]:
        """Exact numbers of tasks, by what they are doing."""
        names = ("running", "queued", "scheduled", "parked")
        return {name: sum(getattr(row, name) for row in self.snapshot.counts) for name in names}


def snapshot(
    tasks: Annotated[bool, typer.Option("--tasks", help=f"List the tasks, at most {LISTED} of each sort.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Numbers for each function.")] = False,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Show what stands on the docket now: tasks, workers, strikes."""
    view = run(_take(docket, url, codec))
    if as_json:
        print_json(_as_json(view, tasks=tasks, stats=stats))
        return
    out = console()
    for part in _parts(view, tasks=tasks, stats=stats):
        if isinstance(part, Table):
            out.print(part)
        else:
            say(part)


async def _take(name: str, url: str | None, codec: str | None) -> View:
    async with shared_docket(name, url, codec) as docket:
        await docket.wait_for_strikes_loaded()
        strikes = [describe(strike) for strike in docket.strike_list.strikes]
        return View(name, docket.backend.url, strikes, await docket.snapshot())


def _parts(view: View, *, tasks: bool, stats: bool) -> Iterator[Table | str]:
    shot = view.snapshot
    yield f"{view.docket} at {view.place}"
    yield f"{shot.total_tasks} tasks: " + ", ".join(f"{number} {name}" for name, number in view.totals.items())
    yield f"{len(shot.workers)} workers, {len(view.strikes)} strikes in force"
    for strike in view.strikes:
        yield f"  struck: {strike}"
    for name, number in shot.unknown.items():
        yield f"  {number} tasks wait for a worker that knows {name}"
    if tasks and shot.running:
        yield _running_table(shot)
    if tasks and shot.future:
        yield _future_table(shot)
    if stats and shot.counts:
        yield _stats_table(shot)
    if shot.workers:
        yield workers_table(shot.workers)


def _running_table(shot: DocketSnapshot) -> Table:
    table = Table("key", "call", "worker", "since", "attempt", "progress", title="running", title_justify="left")
    for execution in sorted(shot.running, key=lambda execution: execution.started):
        since = show_duration(shot.taken - execution.started)
        again = " (redelivered)" if execution.redelivered else ""
        table.add_row(
            execution.key,
            execution.call_repr(),
            execution.worker,
            since,
            f"{execution.attempt}{again}",
            _progress(execution),
        )
    return table


def _future_table(shot: DocketSnapshot) -> Table:
    table = Table("key", "call", "state", "due", title="waiting", title_justify="left")
    for execution in shot.future:
        ahead = execution.when - shot.taken
        due = f"in {show_duration(ahead)}" if ahead.total_seconds() > 0 else f"{show_duration(-ahead)} ago"
        table.add_row(execution.key, execution.call_repr(), execution.state.value, due)
    return table


def _stats_table(shot: DocketSnapshot) -> Table:
    table = Table("function", title="by function", title_justify="left")
    for name in ("running", "queued", "scheduled", "parked"):
        table.add_column(name, justify="right")
    for row in sorted(shot.counts, key=lambda row: row.function):
        table.add_row(row.function, *(str(n) for n in (row.running, row.queued, row.scheduled, row.parked)))
    return table


def _progress(execution: Execution) -> str:
    progress = execution.progress
    if not progress.current and progress.total is None and progress.message is None:
        return ""
    return f"{progress.current}/{progress.total or '?'} {printable(progress.message or '')}".strip()


def _as_json(view: View, *, tasks: bool, stats: bool) -> dict[str, object]:
    shot = view.snapshot
    shown: dict[str, object] = {
        "docket": view.docket,
        "url": view.place,
        "taken": shot.taken,
        "total_tasks": shot.total_tasks,
        **view.totals,
        "unknown": shot.unknown,
        "strikes": view.strikes,
        "workers": [as_plain(worker) for worker in shot.workers],
    }
    if tasks:
        shown["running_tasks"] = [_task(execution) for execution in shot.running]
        shown["waiting_tasks"] = [_task(execution) for execution in shot.future]
    if stats:
        shown["functions"] = {row.function: {**row._asdict(), "function": row.function} for row in shot.counts}
    return shown


def _task(execution: Execution) -> dict[str, object]:
    task: dict[str, object] = {
        "key": execution.key,
        "function": execution.function_name,
        "call": execution.call_repr(),
        "state": execution.state.value,
        "when": execution.when,
        "attempt": execution.attempt,
        "redelivered": execution.redelivered,
    }
    if isinstance(execution, RunningExecution):
        progress = {"current": execution.progress.current, "total": execution.progress.total}
        task |= {
            "worker": execution.worker,
            "started": execution.started,
            "progress": progress | {"message": execution.progress.message},
        }
    return task
