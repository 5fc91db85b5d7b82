"""`docket cancel KEY`"""

from typing import Annotated

import typer

from docket_core.backend.model import CancelReply
from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.output import print_json, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket

_SAID = {
    CancelReply.CANCELLED: "{key} is cancelled",
    CancelReply.REQUESTED: "{key} is running; its worker was asked to stop it",
    CancelReply.GONE: "nothing that is scheduled, queued or running has the key {key}",
}


def cancel(
    key: Annotated[str, typer.Argument(help="The task's key.")],
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a task that waits, or ask a running one to stop."""
    reply = run(_cancel(docket, url, codec, key))
    if as_json:
        print_json({"key": key, "reply": reply.value})
    else:
        say(_SAID[reply].format(key=key))
    if reply is CancelReply.GONE:
        raise typer.Exit(ExitCode.NO)


async def _cancel(name: str, url: str | None, codec: str | None, key: str) -> CancelReply:
    async with shared_docket(name, url, codec) as docket:
        return await docket.cancel(key)
