"""`docket clear`"""

from docket_core.cli.output import print_json, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket


def clear(docket: DocketName = DEFAULT_NAME, url: Url = None, codec: CodecPath = None, as_json: AsJson = False) -> None:
    """Cancel every task that waits; running ones are left alone."""
    cleared = run(_clear(docket, url, codec))
    if as_json:
        print_json({"docket": docket, "cleared": cleared})
    else:
        say(f"{cleared} {'task' if cleared == 1 else 'tasks'} cancelled")


async def _clear(name: str, url: str | None, codec: str | None) -> int:
    async with shared_docket(name, url, codec) as docket:
        return await docket.clear()
