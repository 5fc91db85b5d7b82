"""`docket workers ls` and `docket workers for-task NAME`"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from docket_core.cli.durations import show_duration
from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.output import console, print_json, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket
from docket_core.snapshot import WorkerInfo


def list_workers(
    docket: DocketName = DEFAULT_NAME, url: Url = None, codec: CodecPath = None, as_json: AsJson = False
) -> None:
    """List the workers that live, and what they can run."""
    _show(run(_workers(docket, url, codec, None)), as_json, f"no worker of {docket} has shown itself lately")


def for_task(
    task: Annotated[str, typer.Argument(help="A task function's name.")],
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """List the workers that can run one function; exit code 1 if there is none."""
    found = run(_workers(docket, url, codec, task))
    _show(found, as_json, f"no worker of {docket} that lives can run {task}")
    if not found:
        raise typer.Exit(ExitCode.NO)


async def _workers(name: str, url: str | None, codec: str | None, task: str | None) -> Sequence[WorkerInfo]:
    async with shared_docket(name, url, codec) as docket:
        return await (docket.workers() if task is None else docket.task_workers(task))


def _show(found: Sequence[WorkerInfo], as_json: bool, none: str) -> None:
    if as_json:
        print_json([as_plain(worker) for worker in found])
    elif found:
        console().print(workers_table(found))
    else:
        say(none)


def as_plain(worker: WorkerInfo) -> dict[str, object]:
    """A worker for JSON."""
    return {"name": worker.name, "last_seen": worker.last_seen, "tasks": sorted(worker.tasks)}


def workers_table(workers: Sequence[WorkerInfo]) -> Table:
    """Workers for people."""
    table = Table("worker", "seen", "can run", title="workers", title_justify="left")
    now = datetime.now(UTC)
    for worker in sorted(workers, key=lambda worker: worker.name):
        seen = show_duration(max(now - worker.last_seen, now - now))
        table.add_row(worker.name, f"{seen} ago", ", ".join(sorted(worker.tasks)))
    return table
