"""The command `docket`, put together from one file per command."""

import sys

import typer

from docket_core.cli import snapshot, strikes, tasks, workers
from docket_core.cli.backends import backends
from docket_core.cli.cancel import cancel
from docket_core.cli.clear import clear
from docket_core.cli.demo.command import demo
from docket_core.cli.exit_codes import MEANINGS, exit_code_of
from docket_core.cli.output import complain
from docket_core.cli.version import version
from docket_core.cli.watch import watch
from docket_core.cli.worker import worker
from docket_core.errors import DocketError

EXAMPLES = """\
[bold]Examples[/bold]

[cyan]docket demo[/cyan]  see it work, on SQLite, in one command

[cyan]docket worker --tasks shop.tasks:tasks --concurrency 20[/cyan]  run the functions in shop.tasks.tasks

[cyan]docket tasks sleep 5s[/cyan]  give a worker something to do

[cyan]docket snapshot --tasks --stats[/cyan]  what stands on the docket, and who runs it

[cyan]docket watch order-17[/cyan]  follow one task to its end

[cyan]docket strike send_mail customer == int:17[/cyan]  leave this customer's mails alone

[cyan]docket restore send_mail customer == int:17[/cyan]  and take that back

[cyan]docket backends postgresql://db/shop[/cyan]  what this store can do
"""


def _epilog() -> str:
    codes = "\n\n".join(f"[cyan]{code.value:>3}[/cyan]  {meaning}" for code, meaning in MEANINGS.items())
    return f"{EXAMPLES}\n\n[bold]Exit codes[/bold]\n\n{codes}"


def _group(text: str) -> typer.Typer:
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="docket",
        help="Background tasks for Python functions: now, later or on a schedule.",
        epilog=_epilog(),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command in (demo, worker, snapshot.snapshot, watch, cancel, clear):
        app.command()(command)
    for command in (strikes.strike, strikes.restore):
        app.command()(command)
    on_workers = _group("The workers that live.")
    on_workers.command("ls")(workers.list_workers)
    on_workers.command("for-task")(workers.for_task)
    app.add_typer(on_workers, name="workers")
    on_tasks = _group("Put standard tasks on the docket, to try a set-up.")
    for command in (tasks.trace, tasks.fail, tasks.sleep):
        on_tasks.command()(command)
    app.add_typer(on_tasks, name="tasks")
    for command in (backends, version):
        app.command()(command)
    return app


def main() -> None:
    """Run the command line; an error of docket-core's own is one line and an exit code."""
    try:
        build()(prog_name="docket")
    except DocketError as error:
        complain(str(error))
        sys.exit(exit_code_of(error))
