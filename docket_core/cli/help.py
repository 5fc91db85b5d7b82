"""What `docket --help` shows beside the list of commands: examples and exit codes."""

import os
from typing import Any

import typer
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from docket_core.cli.exit_codes import MEANINGS
from docket_core.cli.output import complain, console
from docket_core.cli.variables import misspelt, variables_of

EXAMPLES = {
    "docket demo": "see it work, on SQLite, in one command",
    "docket worker --tasks shop.tasks:tasks": "run the functions of the list `tasks` in shop/tasks.py",
    "docket tasks sleep 5s --key nap": "give a worker something to do",
    "docket watch nap": "follow this task to its end",
    "docket snapshot --tasks --stats": "what stands on the docket, and who runs it",
    "docket strike send_mail customer '==' int:17": "leave the mails to this customer alone",
    "docket restore send_mail customer '==' int:17": "and take that back",
    "docket bench --quick memory:// sqlite:///bench.db": "how fast these stores are here, side by side",
    "docket backends sqlite:///docket.db": "what this store can do",
}

EXAMPLE_OF = {
    "demo": "docket demo --folder ~/src --workers 3",
    "worker": "docket worker --tasks shop.tasks:tasks --concurrency 20",
    "snapshot": "docket snapshot --tasks --stats",
    "watch": "docket watch nap",
    "cancel": "docket cancel nap",
    "clear": "docket clear --docket shop",
    "failed": "docket failed --json",
    "retry": "docket retry nap",
    "strike": "docket strike send_mail customer '==' int:17",
    "restore": "docket restore send_mail customer '==' int:17",
    "ls": "docket workers ls",
    "for-task": "docket workers for-task send_mail",
    "trace": "docket tasks trace hello --in 5m",
    "fail": "docket tasks fail 'on purpose'",
    "sleep": "docket tasks sleep 5s --key nap",
    "bench": "docket bench --quick memory:// sqlite:///bench.db redis://localhost",
    "backends": "docket backends sqlite:///docket.db",
    "migrate": "docket migrate postgresql://localhost/shop --sql",
    "version": "docket version --json",
}
"""One example for every command, at the end of its help."""


def example_of(command: str) -> str:
    """The last line of a command's help."""
    return f"Example: {EXAMPLE_OF[command]}"


class Top(TyperGroup):
    """The top of the command line."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override, unused-ignore]
        """Before any command: a variable that is misspelt is not passed over in silence."""
        for variable, near in misspelt(os.environ, set(variables_of(self))):
            complain(f"the variable {variable} is read by no option; did you mean {near}?")
        return super().invoke(ctx)

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override, unused-ignore]
        """The usual help, then the examples and the exit codes."""
        super().format_help(ctx, formatter)
        codes = {str(code.value): meaning for code, meaning in MEANINGS.items()}
        console().print(Padding(Group(_list("Examples", EXAMPLES), _list("Exit codes", codes)), (0, 1)))


def _list(title: str, items: dict[str, str]) -> Group:
    table = Table.grid(padding=(0, 2))
    for left, right in items.items():
        table.add_row(Text(left, style="cyan"), Text(right))
    return Group(Text(title, style="bold"), Padding(table, (0, 0, 1, 2)))
