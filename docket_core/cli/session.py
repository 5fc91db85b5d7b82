"""What commands that work on a docket share: its options, opening it, and refusing where nothing could be done."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from docket_core.cli.exit_codes import ExitCode
from docket_core.codec import Codec
from docket_core.codec_paths import as_codec
from docket_core.docket import Docket
from docket_core.errors import CapabilityMissing

T = TypeVar("T")

DocketName = Annotated[str, typer.Option("--docket", envvar="DOCKET_NAME", help="The docket's name.")]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="DOCKET_URL", help="Where the docket is kept.", show_default="sqlite:///docket.db"),
]
CodecPath = Annotated[
    str | None,
    typer.Option(
        "--codec",
        envvar="DOCKET_CODEC",
        metavar="PATH",
        help="The docket's codec, module:attribute; also a class, as docket_core:JsonCodec.",
        show_default="cloudpickle",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", envvar="DOCKET_JSON", help="JSON on the standard output, for programs.")
]
DEFAULT_NAME = "docket"


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; Ctrl-C ends it quietly.

    Raises:
        typer.Exit: it was interrupted.
    """
    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


@asynccontextmanager
async def shared_docket(name: str, url: str | None, codec: str | None) -> AsyncGenerator[Docket, None]:
    """The docket, open, in a store that other processes see.

    Raises:
        CapabilityMissing: the store lives in one process, so this command could do nothing.
        ConfigurationError: there is no such codec.
    """
    async with Docket(name, url, codec=named_codec(codec)) as docket:
        require_shared(docket)
        yield docket


def named_codec(path: str | None) -> Codec | None:
    """The codec of this name; its module is also looked for in the current directory.

    Raises:
        ConfigurationError: there is no such codec.
    """
    if path is not None and (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return as_codec(path)


def require_shared(docket: Docket, why: str = "this command would only see an empty docket of its own") -> None:
    """Refuse a store that no other process sees.

    Raises:
        CapabilityMissing: it says what to do instead.
    """
    if not docket.backend.capabilities.distributed:
        raise CapabilityMissing(
            f"{docket.url} lives inside one process, and {why}; use a store that processes share: "
            f"--url sqlite:///docket.db here, and the same URL in your application, or DOCKET_URL for both"
        )
