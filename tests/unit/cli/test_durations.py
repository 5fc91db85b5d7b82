"""Lengths of time, as they are written and shown."""

from datetime import timedelta

import pytest
import typer

from docket_core.cli.durations import parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("123", 123),
        ("0", 0),
        ("1.5", 1.5),
        ("1.5s", 1.5),
        ("100ms", 0.1),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        (" 5 M ", 300),
        ("01:30", 90),
        ("1:30", 90),
        ("90:00", None),
        ("00:00.5", 0.5),
        ("59:59", 3599),
        ("01:02:03", 3723),
        ("100:00:00", 360000),
    ],
)
def test_a_duration_is_read(text: str, seconds: float | None) -> None:
    expected = 5400 if seconds is None else seconds
    assert parse_duration(text) == timedelta(seconds=expected)


@pytest.mark.parametrize("text", ["", "abc", "-5", "5 weeks", "1:2:3:4", "1:99:00", "٣", "1e3", ":30", "9" * 400])
def test_anything_else_is_refused_with_what_is_known(text: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        parse_duration(text)
    assert "hh:mm:ss" in str(refused.value) or "longer" in str(refused.value)


def test_a_timedelta_stays_what_it_is() -> None:
    assert parse_duration(timedelta(seconds=3)) == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.35, "350ms"), (4.2, "4.2s"), (90, "1:30"), (3723, "1:02:03"), (-2, "-2.0s"), (3600, "1:00:00")],
)
def test_a_duration_is_shown_in_few_characters(seconds: float, text: str) -> None:
    assert show_duration(timedelta(seconds=seconds)) == text
