"""`docket watch KEY`"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.output import complain, console, print_json, printable, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket
from docket_core.execution import ExecutionState
from docket_core.subscriptions import ProgressEvent, StateEvent

Event = StateEvent | ProgressEvent


def watch(
    key: Annotated[str, typer.Argument(help="The task's key.")],
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Follow a task to its end: its state, and a progress bar.

    Exit code 0 if it completed, 1 if it failed, was cancelled or replaced, or is unknown.
    """
    if run(_watch(docket, url, codec, key, as_json)) is not ExecutionState.COMPLETED:
        raise typer.Exit(ExitCode.NO)


async def _watch(name: str, url: str | None, codec: str | None, key: str, as_json: bool) -> ExecutionState | None:
    """How the task ended; None if it is unknown, or another run took its key."""
    async with shared_docket(name, url, codec) as docket:
        execution = await docket.get_execution(key)
        if execution is None:
            complain(f"nothing is known of a task with the key {key!r} on the docket {name!r}")
            return None
        state: ExecutionState | None = None
        teller, shown = _teller(f"{execution.function_name} {key}", as_json)
        with shown:
            async for event in execution.subscribe():
                teller(event)
                if event["type"] == "state":
                    state = event["state"]
        if state in (ExecutionState.COMPLETED, ExecutionState.FAILED, ExecutionState.CANCELLED):
            return state
        complain(f"the run of {key!r} that was watched was replaced by another one, or is not kept any more")
        return None


def _teller(title: str, as_json: bool) -> tuple[Callable[[Event], None], AbstractContextManager[object]]:
    """What to do with events, and what to keep on the screen meanwhile."""
    if as_json:
        return print_json, nullcontext()
    out = console()
    if not out.is_terminal:
        return lambda event: say(describe(event)), nullcontext()
    out.print(title, style="bold", soft_wrap=True)  # beside the bar, a long key would leave no room for it
    progress = Progress(
        SpinnerColumn(finished_text=" "),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=out,
    )
    bar = progress.add_task("", total=None, note="")

    def show(event: Event) -> None:
        if event["type"] == "state":
            progress.console.print(describe(event))
            if event["state"] is ExecutionState.COMPLETED:  # the last steps may not have been told one by one
                progress.update(bar, completed=progress.tasks[bar].total)
            if event["completed_at"] is not None:
                progress.stop_task(bar)
                progress.update(bar, visible=progress.tasks[bar].total is not None)  # else it has nothing to tell
        else:
            progress.update(
                bar, completed=event["current"], total=event["total"], note=printable(event["message"] or "")
            )

    return show, progress


def describe(event: Event) -> str:
    """One line for one event."""
    if event["type"] == "progress":
        message = printable(event["message"] or "")
        return f"{_time(event['updated_at'])}  progress   {event['current']}/{event['total'] or '?'} {message}".rstrip()
    moment = event["completed_at"] or event["started_at"] or event["when"]
    more = f" on {event['worker']}" if event["state"] is ExecutionState.RUNNING and event["worker"] else ""
    if event["state"] is ExecutionState.SCHEDULED:
        more = " for then"
    if event["error"]:
        more = f": {printable(event['error'].strip().splitlines()[-1])}"
    return f"{_time(moment)}  {event['state'].value}{more}"


def _time(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3] if moment is not None else " " * 12
