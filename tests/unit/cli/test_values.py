"""Typed values on a command line."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
import typer

from docket_core.cli.values import TYPES, parse_value

SOME_ID = "12345678-1234-5678-1234-567812345678"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hello", "hello"),
        ("5", "5"),
        ("", ""),
        ("http://example.com", "http://example.com"),
        ("Big:text", "Big:text"),
        ("str:int:5", "int:5"),
        ("str:", ""),
        ("int:5", 5),
        ("int:-7", -7),
        ("float:1.5", 1.5),
        ("bool:true", True),
        ("bool:No", False),
        ('json:[1, {"a": null}]', [1, {"a": None}]),
        ('json:"multi\\nline"', "multi\nline"),
        (f"uuid:{SOME_ID}", UUID(SOME_ID)),
        ("datetime:2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("date:2026-01-02", date(2026, 1, 2)),
        ("timedelta:5m", timedelta(minutes=5)),
        ("none:", None),
    ],
)
def test_a_value_is_read(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["int:x", "int:", "float:one", "bool:maybe", "json:{", "uuid:5", "date:x", "none:5"])
def test_a_text_that_does_not_fit_its_type_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=text.partition(":")[0]):
        parse_value(text)


def test_an_unknown_type_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(typer.BadParameter) as refused:
        parse_value("itn:5")
    assert all(f"{name}:" in str(refused.value) for name in TYPES)
    assert "str:itn:5" in str(refused.value)
