"""`docket failed` and `docket retry KEY`"""

from typing import Annotated

import typer
from rich.table import Table

from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.output import complain, console, print_json, printable, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket
from docket_core.execution import Disposition, Execution


def failed(
    limit: Annotated[int, typer.Option("--limit", help="How many at most.", min=1)] = 100,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """List failed tasks that are still kept, and why they failed."""
    found = run(_failed(docket, url, codec, limit))
    if as_json:
        print_json([_as_plain(execution) for execution in found])
    elif found:
        table = Table("key", "call", "ended", "attempt", "error", title="failed", title_justify="left")
        for execution in found:
            ended = execution.completed_at.astimezone().strftime("%d %b %H:%M:%S") if execution.completed_at else ""
            table.add_row(execution.key, execution.call_repr(), ended, str(execution.attempt), _last_line(execution))
        console().print(table)
    else:
        say("no failed task is kept")


def retry(
    key: Annotated[str, typer.Argument(help="The failed task's key.")],
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Run a failed task again, now, with the arguments it had."""
    execution = run(_retry(docket, url, codec, key))
    if execution is None:
        complain(f"no failed task is kept under the key {key!r}")
        raise typer.Exit(ExitCode.NO)
    if as_json:
        print_json({"key": key, "disposition": execution.disposition.value, "state": execution.state.value})
    elif execution.disposition is Disposition.SCHEDULED:
        say(f"{key} is {execution.state.value} again")
    else:
        say(f"{key} is on the docket already, and was kept as it is")


async def _failed(name: str, url: str | None, codec: str | None, limit: int) -> list[Execution]:
    async with shared_docket(name, url, codec) as docket:
        return await docket.failed(limit)


async def _retry(name: str, url: str | None, codec: str | None, key: str) -> Execution | None:
    async with shared_docket(name, url, codec) as docket:
        try:
            return await docket.retry(key)
        except KeyError:
            return None


def _last_line(execution: Execution) -> str:
    lines = (execution.error or "").strip().splitlines()
    return printable(lines[-1]) if lines else ""


def _as_plain(execution: Execution) -> dict[str, object]:
    return {
        "key": execution.key,
        "function": execution.function_name,
        "call": execution.call_repr(),
        "attempt": execution.attempt,
        "completed_at": execution.completed_at,
        "error": execution.error,
    }
