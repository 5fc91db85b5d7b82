"""The command `docket`, put together from one file per command."""

import os
import sys
from collections.abc import Callable, Sequence

import typer

from docket_core.cli import snapshot, strikes, tasks, workers
from docket_core.cli.backends import backends
from docket_core.cli.bench import bench
from docket_core.cli.cancel import cancel
from docket_core.cli.clear import clear
from docket_core.cli.demo.command import demo
from docket_core.cli.exit_codes import exit_code_of
from docket_core.cli.failed import failed, retry
from docket_core.cli.help import Top, example_of
from docket_core.cli.migrate import migrate
from docket_core.cli.output import complain
from docket_core.cli.version import version
from docket_core.cli.watch import watch
from docket_core.cli.worker import worker
from docket_core.errors import DocketError

COMPLETION = ("--install-completion", "--show-completion")


def _group(text: str) -> typer.Typer:
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def _add(app: typer.Typer, *commands: Callable[..., None], **named: Callable[..., None]) -> None:
    """Commands under their functions' names, or under other ones."""
    for name, command in ({command.__name__: command for command in commands} | named).items():
        shown = name.replace("_", "-")
        app.command(shown, epilog=example_of(shown))(command)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="docket",
        help="Background tasks for Python functions: now, later or on a schedule.",
        cls=Top,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "DOCKET"},
    )
    _add(app, demo, worker, snapshot.snapshot, watch, cancel, clear, failed, retry, strikes.strike, strikes.restore)
    on_workers = _group("The workers that live.")
    _add(on_workers, workers.for_task, ls=workers.list_workers)
    app.add_typer(on_workers, name="workers")
    on_tasks = _group("Put standard tasks on the docket, to try a set-up.")
    _add(on_tasks, tasks.trace, tasks.fail, tasks.sleep)
    app.add_typer(on_tasks, name="tasks")
    _add(app, backends, bench, migrate, version)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of docket-core's own is one line and an exit code.

    Args:
        arguments: what stands behind the command's name; None takes those of the process.

    Raises:
        SystemExit: always, with one of `ExitCode`.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in COMPLETION and len(given) > 1:  # the shell is named, and need not be found out
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    try:
        build()(args=arguments, prog_name="docket")
    except DocketError as error:
        complain(str(error))
        sys.exit(exit_code_of(error))
