"""Variables of the environment that no option reads, though their names come close to one that is read."""

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

_PREFIX = "DOCKET_"
_CLOSE = 0.82
"""The share of their letters that two variables have in common where one is taken for the other."""


def variables_of(command: Any, name: str = "docket") -> Iterator[str]:
    """The variables that a command's options read, or those of a group's commands.

    Args:
        command: as Typer's `get_command` makes it.
        name: its whole name, of which the variable is made where an option names none.
    """
    for word, one in getattr(command, "commands", {}).items():
        yield from variables_of(one, f"{name} {word}")
    for option in command.params:
        if isinstance(option.envvar, str):
            yield option.envvar
        elif option.envvar:
            yield from option.envvar
        elif option.param_type_name == "option":
            yield re.sub(r"\W", "_", f"{name} {option.name}").upper()


def misspelt(present: Iterable[str], known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Of the variables that are present those that are hardly meant as they stand, each with what may be meant."""
    for variable in sorted(present):
        if variable.startswith(_PREFIX) and variable not in known:
            for near in get_close_matches(variable, known, 1, _CLOSE):
                yield variable, near
