"""From the words of `docket strike` to a rule."""

import pytest
import typer

from docket_core.cli.strikes import describe, make_rule
from docket_core.strikes import Operator, Strike


@pytest.mark.parametrize(
    ("function", "parameter", "operator", "values", "rule", "words"),
    [
        ("send", None, None, None, Strike("send"), "send"),
        (
            "send",
            "to",
            Operator.EQUAL,
            ["ann"],
            Strike("send", "to", Operator.EQUAL, "ann"),
            "send where to == 'ann'",
        ),
        (
            "*",
            "customer",
            Operator.GREATER_THAN,
            ["int:5"],
            Strike(None, "customer", Operator.GREATER_THAN, 5),
            "every function where customer > 5",
        ),
        (
            "send",
            "n",
            Operator.BETWEEN,
            ["int:1", "int:5"],
            Strike("send", "n", Operator.BETWEEN, (1, 5)),
            "send where n between (1, 5)",
        ),
    ],
)
def test_words_make_a_rule(
    function: str,
    parameter: str | None,
    operator: Operator | None,
    values: list[str] | None,
    rule: Strike,
    words: str,
) -> None:
    assert make_rule(function, parameter, operator, values) == rule
    assert describe(rule) == words


@pytest.mark.parametrize(
    ("function", "parameter", "operator", "values"),
    [
        ("*", None, None, None),
        ("send", "to", None, None),
        ("send", "to", Operator.EQUAL, None),
        ("send", "to", Operator.EQUAL, ["a", "b"]),
        ("send", "to", Operator.BETWEEN, ["a"]),
        ("send", None, None, ["a"]),
    ],
)
def test_words_that_do_not_fit_are_refused(
    function: str, parameter: str | None, operator: Operator | None, values: list[str] | None
) -> None:
    with pytest.raises(typer.BadParameter):
        make_rule(function, parameter, operator, values)
