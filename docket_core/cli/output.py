"""What commands write: tables for people, JSON for programs, colour only on terminals."""

import json
import os
import sys
from datetime import datetime
from typing import Any

from rich.console import Console

PLAIN_WIDTH = 200
"""Tables are laid out for so many columns where no terminal tells its width."""


def console(*, stderr: bool = False, markup: bool = False) -> Console:
    """Where people read: with colours and the terminal's width on a terminal, plain and wide elsewhere.

    Args:
        markup: whether `[bold]` and the like mean something; not where names and texts of users are shown.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, markup=markup)


def print_json(value: object) -> None:
    """One JSON document in one line on the standard output, written through at once."""
    print(json.dumps(value, default=_plain, ensure_ascii=False), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)


def printable(text: str) -> str:
    """A text of a user's in one line, and without anything that would steer a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def say(text: str) -> None:
    """A line for people on the standard output, as it is: no markup, no wrapping."""
    print(text, flush=True)


def complain(text: str) -> None:
    """A line on the standard error: what went wrong and what to do."""
    stream = console(stderr=True)
    stream.print("docket:", style="bold red", end=" ")
    stream.print(printable(text), soft_wrap=True)
