"""Values with a type, as they are written on a command line: `int:5`, `bool:true`, `json:[1, 2]`."""

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from uuid import UUID

import typer

from docket_core.cli.durations import parse_duration

_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_TYPE = re.compile(r"([a-z]+):(?!//)(.*)", re.DOTALL)


def _bool(text: str) -> bool:
    try:
        return _TRUTH[text.strip().lower()]
    except KeyError:
        raise ValueError(f"write one of {', '.join(_TRUTH)}") from None


def _none(text: str) -> None:
    if text:
        raise ValueError("write 'none:' with nothing behind it")


TYPES: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _bool,
    "json": json.loads,
    "uuid": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "timedelta": parse_duration,
    "none": _none,
}
FORMS = ", ".join(f"{name}:" for name in TYPES)


def parse_value(text: str) -> object:
    """The value that `text` names: of the type before the colon, or a str where there is no colon.

    Raises:
        typer.BadParameter: the type is unknown, or its text does not fit.
    """
    typed = _TYPE.fullmatch(text)
    if typed is None:
        return text
    kind, rest = typed.groups()
    if kind not in TYPES:
        raise typer.BadParameter(
            f"{text!r} has an unknown type; known are {FORMS} and a text with a colon is str:{text}"
        )
    try:
        return TYPES[kind](rest)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no {kind}: {error}") from error
