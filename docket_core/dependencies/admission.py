"""What limits when a task may start: permits in gates, asked for before its dependencies are resolved."""

import abc
import hashlib
import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from uncalled_for import Dependency

from docket_core.backend.clock import check_kind, to_micros
from docket_core.backend.model import Claim, Gate, PermitRequest
from docket_core.dependencies.base import current_execution
from docket_core.errors import ConfigurationError

if TYPE_CHECKING:
    from docket_core.execution import Execution

_LONGEST_VALUE = 200


class Admission(Dependency["Admission"], abc.ABC):
    """A limit on the starts of a task; the worker asks for all of a task's permits in one step.

    Args:
        argument: limit per value of this parameter; None limits the task as a whole. As part of an annotation,
            `Annotated[int, ConcurrencyLimit()]`, it is the parameter that is annotated.
        scope: what shares the limit; None is the function.
    """

    kind: ClassVar[str]
    """Part of the gate's name: limits of different kinds never share a gate."""
    parks: bool = True
    """Whether a task that is denied waits in front of the gate; else its run ends CANCELLED."""
    settles: bool = False
    """Whether being granted means to wait, and the permit's lapse to start."""
    first_attempt_only: bool = False
    """Whether tries after a failure are free."""

    def __init__(self, argument: str | None = None, scope: str | None = None) -> None:
        self.argument = argument
        self.scope = scope

    @abc.abstractmethod
    def permit(self, claim: Claim, gate: str) -> PermitRequest:
        """What to ask for, for this claim, in the gate of this name."""

    def request(self, execution: "Execution", claim: Claim, parameter: str | None) -> PermitRequest | None:
        """What to ask for before this run; None where it is free.

        Args:
            execution: the run.
            claim: its grant.
            parameter: the parameter that the limit is annotated on, if it is.
        """
        if self.first_attempt_only and execution.attempt > 1:
            return None
        argument = self.argument if self.argument is not None else parameter
        shared = self.scope if self.scope is not None else execution.function_name
        gate = f"{self.kind}:{shared}"
        if argument is not None:
            gate = f"{gate}:{argument}={value_text(execution.get_argument(argument))}"
        return self.permit(claim, shorten(gate))

    def check_declared(self, name: str, signature: inspect.Signature, parameter: str | None) -> None:
        """Refuse a limit on a parameter that the function has not.

        Raises:
            ConfigurationError: it names the parameter.
        """
        parameters = signature.parameters.values()
        if self.argument is None or any(known.kind is known.VAR_KEYWORD for known in parameters):
            return
        if self.argument not in signature.parameters:
            raise ConfigurationError(
                f"{type(self).__name__} on {name} counts per value of {self.argument!r}, but {name}{signature} "
                f"has no such parameter"
            )

    async def __aenter__(self) -> Self:
        if not any(declared is self for declared in current_execution.get().task.all_dependencies()):
            raise ConfigurationError(
                f"{type(self).__name__} stands in a dependency of {current_execution.get().function_name}; "
                f"declare it as a parameter of the task itself, or in the annotation of one"
            )
        return self


def value_text(value: object) -> str:
    """A value as part of a gate's name: equal values have equal texts, in every process.

    Raises:
        ConfigurationError: the value does not show what it is.
    """
    if getattr(type(value), "__repr__") is object.__repr__:  # noqa: B009 - its type is narrower than what is compared
        raise ConfigurationError(
            f"a limit per value needs values that show what they are: give {type(value).__name__} a __repr__"
        )
    return shorten(repr(value), _LONGEST_VALUE)


def shorten(text: str, longest: int = 1024) -> str:
    """`text` if it is short and printable, else a digest of it."""
    if len(text) <= longest and text.isprintable() and len(text.encode(errors="replace")) <= longest:
        return text
    return f"sha256-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def positive(what: str, length: timedelta) -> int:
    """A length of time in microseconds.

    Raises:
        ValueError: it is not positive.
        TypeError: it is no timedelta.
    """
    check_kind(what, length)
    if length <= timedelta(0):
        raise ValueError(f"{what} is positive, not {length}")
    return to_micros(length)


class ConcurrencyLimit(Admission):
    """At most so many of a task run at a time; others wait, first in, first out, and start as soon as one ends.

    `async def sync(customer: int, limit: ConcurrencyLimit = ConcurrencyLimit("customer")) -> None`, or
    `async def sync(customer: Annotated[int, ConcurrencyLimit()]) -> None`

    A place is given back by the end of the run, or by the end of its lease if its worker died.

    Args:
        argument: limit per value of this parameter; None limits the task as a whole.
        max_concurrent: how many at a time.
        scope: what shares the limit; None is the function.

    Raises:
        ValueError: fewer than one at a time.
    """

    kind = "concurrency"

    def __init__(self, argument: str | None = None, max_concurrent: int = 1, scope: str | None = None) -> None:
        super().__init__(argument, scope)
        if max_concurrent < 1:
            raise ValueError(f"at least one task runs at a time, not {max_concurrent}")
        self.max_concurrent = max_concurrent

    def permit(self, claim: Claim, gate: str) -> PermitRequest:
        lease = claim.lease_until - claim.claimed_at
        return PermitRequest(claim, Gate(gate, self.max_concurrent), claim.key, lease, bound=True)


class RateLimit(Admission):
    """At most so many starts within any window of time; others wait for the next free place, or are dropped.

    `async def call(limit: RateLimit = RateLimit(100, per=timedelta(minutes=1))) -> None`

    A redelivery after a lost lease is not counted again; a retry is.

    Args:
        limit: how many starts.
        per: within how long.
        drop: end a run that finds no place as CANCELLED, in place of letting it wait.
        scope: what shares the limit; None is the function.

    Raises:
        ValueError: fewer than one start, or a window that is not positive.
    """

    kind = "rate"

    def __init__(self, limit: int, *, per: timedelta, drop: bool = False, scope: str | None = None) -> None:
        super().__init__(None, scope)
        if limit < 1:
            raise ValueError(f"at least one start is allowed, not {limit}")
        self.limit = limit
        self.per = per
        self._ttl = positive("the window of a rate limit", per)
        self.drop = drop
        self.parks = not drop

    def permit(self, claim: Claim, gate: str) -> PermitRequest:
        holder = shorten(f"{claim.key}/{claim.run}/{claim.attempt}")
        return PermitRequest(claim, Gate(gate, self.limit), holder, self._ttl)


class Cooldown(Admission):
    """After a start, further ones within the window are dropped: their runs end CANCELLED.

    Args:
        window: how long after a start.
        scope: what shares it; None is the function.

    Raises:
        ValueError: a window that is not positive.
    """

    kind = "cooldown"
    parks = False
    first_attempt_only = True

    def __init__(self, window: timedelta, *, scope: str | None = None) -> None:
        super().__init__(None, scope)
        self.window = window
        self._ttl = positive("the window of a cooldown", window)

    def permit(self, claim: Claim, gate: str) -> PermitRequest:
        return PermitRequest(claim, Gate(gate, 1), shorten(f"{claim.key}/{claim.run}"), self._ttl)


class Debounce(Admission):
    """Of many calls in a row one runs, once it has been quiet for the time to settle; the others end CANCELLED.

    The first call waits; each further one is dropped and starts the time anew.

    Args:
        settle: how long it must be quiet.
        scope: what is one row of calls; None is the function.

    Raises:
        ValueError: a time that is not positive.
    """

    single = True
    kind = "debounce"
    parks = False
    settles = True
    first_attempt_only = True

    def __init__(self, settle: timedelta, *, scope: str | None = None) -> None:
        super().__init__(None, scope)
        self.settle = settle
        self._ttl = positive("the time to settle", settle)

    def permit(self, claim: Claim, gate: str) -> PermitRequest:
        return PermitRequest(claim, Gate(gate, 1), claim.key, self._ttl, extend_on_conflict=True)
