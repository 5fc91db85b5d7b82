"""`docket tasks trace`, `fail` and `sleep`: standard tasks that every worker knows, to try a set-up."""

from datetime import timedelta
from typing import Annotated

import typer

from docket_core.cli.durations import parse_duration
from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.output import print_json, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket
from docket_core.execution import Disposition, Execution

Message = Annotated[str, typer.Argument(help="What it says.")]
Delay = Annotated[
    timedelta | None,
    typer.Option("--in", parser=parse_duration, metavar="DURATION", help="Run it after this time; at once without."),
]
Key = Annotated[str | None, typer.Option("--key", help="The task's key; a new one without.")]


def trace(
    message: Message = "Hello from docket",
    delay: Delay = None,
    key: Key = None,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Put a task on the docket that logs a message."""
    _add("trace", message, delay, key, docket, url, codec, as_json)


def fail(
    message: Message = "Failed as it should",
    delay: Delay = None,
    key: Key = None,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Put a task on the docket that fails with a message."""
    _add("fail", message, delay, key, docket, url, codec, as_json)


def sleep(
    duration: Annotated[timedelta, typer.Argument(parser=parse_duration, metavar="DURATION", help="For how long.")],
    delay: Delay = None,
    key: Key = None,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Put a task on the docket that sleeps."""
    _add("sleep", duration.total_seconds(), delay, key, docket, url, codec, as_json)


def _add(
    name: str,
    argument: str | float,
    delay: timedelta | None,
    key: str | None,
    docket: str,
    url: str | None,
    codec: str | None,
    as_json: bool,
) -> None:
    execution = run(_send(docket, url, codec, name, argument, delay, key))
    disposition = execution.disposition
    if as_json:
        state = execution.state.value if disposition is not Disposition.STRUCK else None
        print_json({"key": execution.key, "task": name, "disposition": disposition.value, "state": state})
    elif disposition is Disposition.SCHEDULED:
        say(f"{name} is {execution.state.value} as {execution.key}")
    elif disposition is Disposition.ALREADY_SCHEDULED:
        say(f"{execution.key} is on the docket already, and was kept as it is")
    else:
        say(f"a strike keeps {name} off the docket")
    if disposition is Disposition.STRUCK:
        raise typer.Exit(ExitCode.NO)


async def _send(
    name: str,
    url: str | None,
    codec: str | None,
    task: str,
    argument: str | float,
    delay: timedelta | None,
    key: str | None,
) -> Execution:
    async with shared_docket(name, url, codec) as docket:
        await docket.wait_for_strikes_loaded()
        return await docket.add(task, when=delay, key=key)(argument)
