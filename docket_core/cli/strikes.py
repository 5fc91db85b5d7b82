"""`docket strike` and `docket restore`"""

from typing import Annotated

import typer

from docket_core.cli.output import print_json, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, CodecPath, DocketName, Url, run, shared_docket
from docket_core.cli.values import FORMS, parse_value
from docket_core.strikes import Operator, Restore, Strike

Function = Annotated[str, typer.Argument(help="A task function's name, or '*' for those of every name.")]
Parameter = Annotated[str | None, typer.Argument(help="Only calls in which this parameter …")]
Comparison = Annotated[Operator | None, typer.Argument(help="… compares so …", show_choices=True)]
Values = Annotated[
    list[str] | None,
    typer.Argument(metavar="[VALUE]…", help=f"… with this value; two for 'between'. Types: {FORMS} a str without one."),
]


def strike(
    function: Function,
    parameter: Parameter = None,
    operator: Comparison = None,
    values: Values = None,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Leave tasks alone from now on: by function, or by a parameter's value.

    They are not scheduled any more, and those that wait end CANCELLED when they would be run.
    """
    rule = make_rule(function, parameter, operator, values)
    run(_send(docket, url, codec, rule))
    _tell("strike", rule, as_json)


def restore(
    function: Function,
    parameter: Parameter = None,
    operator: Comparison = None,
    values: Values = None,
    docket: DocketName = DEFAULT_NAME,
    url: Url = None,
    codec: CodecPath = None,
    as_json: AsJson = False,
) -> None:
    """Take back the strike that was made with the same words."""
    rule = make_rule(function, parameter, operator, values)
    run(_send(docket, url, codec, Restore(rule)))
    _tell("restore", rule, as_json)


def make_rule(function: str, parameter: str | None, operator: Operator | None, values: list[str] | None) -> Strike:
    """The strike that these words name.

    Raises:
        typer.BadParameter: they do not fit together.
    """
    name = None if function == "*" else function
    given = [parse_value(value) for value in values or ()]
    if parameter is not None and operator is None:
        raise typer.BadParameter(f"say how {parameter} compares, and with what: {parameter} == VALUE")
    wanted = 0 if parameter is None else 2 if operator is Operator.BETWEEN else 1
    if len(given) != wanted:
        raise typer.BadParameter(f"{operator.value if operator else 'this'} takes {wanted} values, not {len(given)}")
    value = None if not given else tuple(given) if operator is Operator.BETWEEN else given[0]
    try:
        return Strike(name, parameter, operator or Operator.EQUAL, value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def describe(rule: Strike) -> str:
    """A strike in the words that made it."""
    name = rule.function or "every function"
    if rule.parameter is None:
        return name
    return f"{name} where {rule.parameter} {rule.operator.value} {rule.value!r}"


async def _send(name: str, url: str | None, codec: str | None, instruction: Strike | Restore) -> None:
    async with shared_docket(name, url, codec) as docket:
        await docket.send_instruction(instruction)


def _tell(what: str, rule: Strike, as_json: bool) -> None:
    if as_json:
        parts = {"function": rule.function, "parameter": rule.parameter}
        compared = {"operator": rule.operator.value, "value": rule.value} if rule.parameter is not None else {}
        print_json({"instruction": what} | parts | compared)
    else:
        say(f"{what}: {describe(rule)}")
