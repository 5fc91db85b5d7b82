"""What a strike says: rules that are compared with a task's function and arguments, and how they travel."""

import enum
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from docket_core.codec import CloudpickleCodec, Codec, decode_instruction, encode_instruction
from docket_core.functions import AnyFunction


class Operator(enum.StrEnum):
    """How a parameter's value is compared with a strike's."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    GREATER_THAN = ">"
    GREATER_THAN_OR_EQUAL = ">="
    LESS_THAN = "<"
    LESS_THAN_OR_EQUAL = "<="
    BETWEEN = "between"
    """From the first to the second of two values, both included."""


COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: lambda value, struck: value == struck,
    Operator.NOT_EQUAL: lambda value, struck: value != struck,
    Operator.GREATER_THAN: lambda value, struck: value > struck,
    Operator.GREATER_THAN_OR_EQUAL: lambda value, struck: value >= struck,
    Operator.LESS_THAN: lambda value, struck: value < struck,
    Operator.LESS_THAN_OR_EQUAL: lambda value, struck: value <= struck,
    Operator.BETWEEN: lambda value, struck: struck[0] <= value <= struck[1],
}


@dataclass(frozen=True)
class Strike:
    """Leave alone: every task of `function`, or those whose `parameter` compares so with `value`.

    Raises:
        ValueError: neither function nor parameter, or `between` without two values.
    """

    function: str | None = None
    parameter: str | None = None
    operator: Operator = Operator.EQUAL
    value: object = None

    def __post_init__(self) -> None:
        if self.function is None and self.parameter is None:
            raise ValueError("a strike names a function, a parameter, or both")
        if self.operator is Operator.BETWEEN:
            if not isinstance(self.value, tuple | list) or len(cast("Sequence[object]", self.value)) != 2:
                raise ValueError("the operator 'between' takes a pair of values, such as (1, 5)")
            object.__setattr__(self, "value", tuple(cast("Sequence[object]", self.value)))  # JSON knows lists only

    def rule_id(self) -> str:
        """The rule's identity, the same for equal rules whatever codec they travel by.

        Raises:
            Unserializable: its value has no form that could be compared.
        """
        rule = repr((self.function, self.parameter, self.operator.value)).encode(errors="surrogatepass")
        if _shows_itself(self.value):
            value = repr(self.value).encode(errors="surrogatepass")
        else:
            value = encode_instruction(CloudpickleCodec(), "", "", [self.value])  # which nobody will decode
        return hashlib.sha256(rule + b"\0" + value).hexdigest()[:32]

    def encode(self, codec: Codec, docket: str) -> bytes:
        """The instruction to those who follow the strikes of `docket`.

        Raises:
            Unserializable: the codec does not take its value.
        """
        value = self.value
        if self.operator is Operator.BETWEEN:
            value = list(cast("Sequence[object]", value))
        parts = [self.function, self.parameter, self.operator.value, value]
        return encode_instruction(codec, docket, self.rule_id(), parts)

    @staticmethod
    def decode(codec: Codec, docket: str, rule_id: str, data: bytes) -> "Strike":
        """Raises CodecError, ValueError or TypeError for bytes that are no strike of `docket`."""
        function, parameter, operator, value = decode_instruction(codec, docket, rule_id, data)
        if not isinstance(function, str | None) or not isinstance(parameter, str | None):
            raise TypeError("a strike names its function and its parameter by text")
        return Strike(function, parameter, Operator(cast("str", operator)), value)


@dataclass(frozen=True)
class Restore:
    """Take back the strike with the same parts."""

    strike: Strike


Instruction = Strike | Restore


def make_strike(
    function: AnyFunction | str | None, parameter: str | None, operator: Operator | str, value: object
) -> Strike:
    """The strike with these parts.

    Raises:
        ValueError: neither function nor parameter, or an unknown operator.
    """
    name = function if function is None or isinstance(function, str) else function.__name__
    try:
        return Strike(name, parameter, Operator(operator), value)
    except ValueError as error:
        if operator not in {known.value for known in Operator}:
            known = ", ".join(known.value for known in Operator)
            raise ValueError(f"unknown operator {operator!r}; known are: {known}") from error
        raise


def _shows_itself(value: object) -> bool:
    """Whether equal values of this type have the same `repr` in every process, which their pickles need not have."""
    if type(value) is dict:
        return all(_shows_itself(part) for item in cast("dict[object, object]", value).items() for part in item)
    if type(value) in (tuple, list):
        return all(_shows_itself(item) for item in cast("Sequence[object]", value))
    return value is None or isinstance(value, int | float | str | bytes | datetime | timedelta | Decimal | UUID)
