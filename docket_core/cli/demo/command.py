"""`docket demo`"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from docket_core.cli.demo.evidence import Evidence
from docket_core.cli.demo.files import Plan, plan_for
from docket_core.cli.demo.fleet import Fleet, Member, Settings
from docket_core.cli.demo.processes import Process
from docket_core.cli.demo.report import as_plain, print_report
from docket_core.cli.demo.screen import Screen
from docket_core.cli.demo.story import DemoFailed, Story
from docket_core.cli.demo.threads import Log, Thread
from docket_core.cli.exit_codes import ExitCode
from docket_core.cli.output import complain, console, print_json
from docket_core.cli.session import AsJson, run
from docket_core.docket import Docket
from docket_core.ids import uuid7

CONCURRENCY = 10
REDELIVERY_TIMEOUT = 2.0
"""Short, so that the takeover is seen quickly."""
LEAST_SECONDS = 3.0
"""With few files each task is stretched, so that the whole takes so long and there is something to see."""
MANY = 1500
"""With so many files nothing is stretched."""


def demo(
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Whose files to do.", show_default="Python's standard library"),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Any store.", show_default="a new SQLite file"),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="How many workers.", min=2, max=50)] = 2,
    timeout: Annotated[float, typer.Option("--timeout", help="Give up after so many seconds.", min=1)] = 120.0,
    as_json: AsJson = False,
) -> None:
    """See docket work: a checksum of every file in a folder, while a kind of file is struck and a worker is killed.

    A task per file and some worker processes; one kind of file is struck while they run, restored and added again; one
    worker is killed with SIGKILL in the middle, and a new one takes over. At the end everything is checked against a
    plain loop over the files. Exit code 0 only if all is right.

    In a store that lives in one process, such as memory://demo, the workers are threads, and the killed one is cut off:
    its loop stands still and its leases run out.
    """
    plan = plan_for(folder)
    screen = Screen(None if as_json else console(markup=True))
    with TemporaryDirectory(prefix="docket-demo-") as scratch:
        place = url if url is not None else f"sqlite:///{Path(scratch).resolve() / 'docket.db'}"
        docket = Docket(f"demo-{uuid7()[-8:]}", place)
        settings = Settings(docket.name, place, _concurrency(plan, workers), REDELIVERY_TIMEOUT)
        pace = _pace(plan, workers * settings.concurrency)
        shared = docket.open_backend().capabilities.distributed
        make: Callable[[str, Settings, Path], Member] = Process if shared else Thread
        log: AbstractContextManager[None] = nullcontext() if shared else Log(Path(scratch))
        fleet = Fleet(settings, Path(scratch), make)
        with log, _explained(fleet):
            evidence = run(_tell(docket, plan, fleet, pace, screen, workers, timeout))
    if as_json:
        print_json(as_plain(evidence, plan, docket.url, pace))
    else:
        print_report(console(markup=True), evidence, pace)
    if not evidence.right:
        raise typer.Exit(ExitCode.NO)


async def _tell(
    docket: Docket, plan: Plan, fleet: Fleet, pace: float, screen: Screen, workers: int, timeout: float
) -> Evidence:
    async with docket:
        screen.event("files", f"{len(plan.files)} in {plan.folder}")
        screen.event("docket", f"{docket.name} at {docket.backend.url}")
        if pace:
            screen.event("pace", f"few files: each task is stretched to {pace * 1000:.0f} ms, to have time to look")
        with fleet:
            return await Story(docket, plan, fleet, pace, screen, timeout).tell(workers)


@contextmanager
def _explained(fleet: Fleet) -> Generator[None, None, None]:
    """Where the demo comes to no end, say why, and what the workers' logs say."""
    try:
        yield
    except DemoFailed as failure:
        complain(f"the demo has failed: {failure}")
        for whose, tail in fleet.tails().items():
            complain(f"the log of {whose} ends with:")
            console(stderr=True).print(tail)
        raise typer.Exit(ExitCode.NO) from None


def _concurrency(plan: Plan, workers: int) -> int:
    """So few slots that not all tasks are taken at once."""
    return max(1, min(CONCURRENCY, len(plan.files) // (10 * workers)))


def _pace(plan: Plan, slots: int) -> float:
    """How long each task takes at least, in seconds."""
    return 0.0 if len(plan.files) >= MANY else round(LEAST_SECONDS * slots / len(plan.files), 3)
