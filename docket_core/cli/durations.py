"""Lengths of time, as people write them."""

import re
from datetime import timedelta

import typer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_PLAIN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)", re.ASCII)
FORMS = "123 (seconds), 1.5s, 100ms, 5m, 2h, 1d, mm:ss or hh:mm:ss"


def parse_duration(text: str | timedelta) -> timedelta:
    """The length of time that `text` names; a timedelta is returned as it is.

    Raises:
        typer.BadParameter: it names none; the message says what does.
    """
    if isinstance(text, timedelta):
        return text
    written = text.strip().lower()
    try:
        if plain := _PLAIN.fullmatch(written):
            return timedelta(seconds=float(plain[1]) * _UNITS[plain[2]])
        if clock := _CLOCK.fullmatch(written):
            hours, minutes, seconds = clock.groups()
            if hours is None or int(minutes) < 60:
                return timedelta(hours=int(hours or 0), minutes=int(minutes), seconds=float(seconds))
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is longer than can be counted") from None
    raise typer.BadParameter(f"{text!r} is no length of time; write {FORMS}")


def show_duration(length: timedelta) -> str:
    """A length of time in few characters, such as `350ms`, `4.2s` or `1:02:03`."""
    seconds = length.total_seconds()
    if seconds < 0:
        return f"-{show_duration(-length)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
