"""What may be shown of a call: only arguments annotated with `Logged`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Logged:
    """Marks an argument as fit for logs: `def send(to: Annotated[str, Logged()], text: str)`.

    Arguments without it are shown as `...`.

    Args:
        length_only: show how many items it has instead of what they are.
    """

    length_only: bool = False

    def format(self, value: object) -> str:
        """The text to show for `value`; never raises."""
        try:
            if not self.length_only:
                return repr(value)
            return f"<{type(value).__name__} of length {len(cast('Any', value))}>"
        except Exception as error:  # noqa: BLE001 - a value that cannot show itself must not stop its task
            return f"<{type(value).__name__} that raised {type(error).__name__}>"


def logged_parameters(function: Callable[..., object]) -> Mapping[str, Logged]:
    """The parameters of `function` that carry `Logged`, or the class itself, in their annotation."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - hints are the user's; what cannot be evaluated is not shown
        return {}
    found: dict[str, Logged] = {}
    for name, hint in hints.items():
        if get_origin(hint) is not Annotated:
            continue
        for mark in get_args(hint)[1:]:
            if isinstance(mark, Logged):
                found[name] = mark
            elif mark is Logged:
                found[name] = Logged()
    return found


def format_call(
    name: str,
    signature: inspect.Signature,
    logged: Mapping[str, Logged],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> str:
    """The call as text: `send(to='ann@example.com', text=...)` shows what is `Logged`."""
    names = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    shown: list[str] = []
    for position, value in enumerate(args):
        mark = logged.get(names[position]) if position < len(names) else None
        shown.append(mark.format(value) if mark is not None else "...")
    for key, value in kwargs.items():
        mark = logged.get(key)
        shown.append(f"{key}={mark.format(value) if mark is not None else '...'}")
    return f"{name}({', '.join(shown)})"
