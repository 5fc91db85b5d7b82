"""Draws the list of commands in docs/command-line.md: `python -m tests.support.command_line` writes it anew."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from docket_core.cli.app import build

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
BEGIN, END = "<!-- begin: drawn from the commands -->\n", "<!-- end -->\n"


def commands(group: Any, path: str = "docket") -> Iterator[tuple[str, Any]]:
    """Every command that does something, under its whole name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def reference() -> str:
    """A section for each command: what it does, its arguments, its options with their variables and defaults."""
    return "\n".join(_section(name, command) for name, command in commands(get_command(build())))


def with_reference(text: str) -> str:
    """The document with the list as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{reference()}{END}{after}"


def _section(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join(
        [name, *(f"{_name(one)}" if one.required else f"[{_name(one)}]" for one in arguments), "[OPTIONS]"]
    )
    lines = [f"### {name}", "", inspect.cleandoc(command.help or ""), "", "```text", usage, "```", ""]
    if arguments:
        lines += ["| argument | |", "|---|---|", *(f"| `{_name(one)}` | {_text(one.help)} |" for one in arguments), ""]
    if options:
        lines += ["| option and variable | | default |", "|---|---|---|", *(_row(name, one) for one in options), ""]
    return "\n".join(lines)


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper()


def _row(command: str, option: Any) -> str:
    names = ", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts])
    given = option.envvar or re.sub(r"\W", "_", f"{command} {option.name}").upper()
    variables = " or ".join(f"`{one}`" for one in ([given] if isinstance(given, str) else given))
    return f"| {names}<br>{variables} | {_text(option.help)} | {_default(option)} |"


def _default(option: Any) -> str:
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    if shown in (None, (), []) or isinstance(shown, bool):
        return ""
    return f"`{getattr(shown, 'value', shown)}`"


def _text(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(with_reference(DOCUMENT.read_text()))
