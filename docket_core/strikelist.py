"""Strikes: live instructions to leave tasks alone, shared by every docket and worker of one name."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from docket_core.backend.clock import SECOND
from docket_core.backend.kit import backoff, sleep
from docket_core.backend.protocol import Backend
from docket_core.backend.records import StrikeEvent, StrikesCaughtUp, StrikesReset
from docket_core.backend.registry import open_backend
from docket_core.codec import CloudpickleCodec, Codec
from docket_core.errors import BackendError, CodecError
from docket_core.functions import AnyFunction
from docket_core.instrumentation import STRIKES_IN_EFFECT
from docket_core.logs import get_logger
from docket_core.strikes import COMPARE, Instruction, Operator, Restore, Strike, make_strike

if TYPE_CHECKING:
    from docket_core.execution import Execution

logger = get_logger("docket_core.strikes")


Condition = Callable[["Execution"], bool]


class StrikeList:
    """The strikes in force, kept up to date from the store.

    It stands alone as an async context manager with a URL of its own, or belongs to a docket.

    Args:
        url: where the strikes are kept; None for a list that knows only what it is told here.
        name: the docket whose strikes these are.
        backend: an open backend to use instead of opening one for `url`.
        codec: how strikes become bytes, the same for all who share them; cloudpickle unless something else is said.
    """

    def __init__(
        self,
        url: str | None = None,
        name: str = "strikelist",
        backend: Backend | None = None,
        codec: Codec | None = None,
    ) -> None:
        self.name = name
        self._codec: Codec = codec if codec is not None else CloudpickleCodec()
        self._own = open_backend(url, name) if url is not None and backend is None else None
        self._backend = backend if backend is not None else self._own
        self._rules: dict[str, Strike] = {}
        self._conditions: list[Condition] = []
        self.in_effect = False
        """Whether there is anything to check at all."""
        self._complained: set[str] = set()
        self._unconfirmed: set[str] = set()
        """Rules known from before a reset that the history has not told again yet."""
        self._told = 0
        """The place up to which the store has told everything."""
        self._untold: dict[str, int] = {}
        """The places of this list's own instructions that are followed here, but not told yet, by rule: what is told of
        the rule until then is older."""
        self._loaded = asyncio.Event()
        self._has_followed = False
        self._monitor: asyncio.Task[None] | None = None
        self.undecodable = 0
        """How many instructions could not be read, and were skipped."""

    async def __aenter__(self) -> Self:
        if self._own is not None:
            await self._own.__aenter__()
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._own is not None:
            await self._own.__aexit__(kind, error, trace)

    def start(self) -> None:
        """Begin to follow the store."""
        if self._backend is None:
            self._loaded.set()
        elif self._monitor is None:
            self._monitor = asyncio.create_task(self._follow(self._backend), name=f"strikes of {self.name}")

    async def stop(self) -> None:
        """Stop following the store."""
        if self._monitor is not None:
            self._monitor.cancel()
            with suppress(asyncio.CancelledError):
                await self._monitor
            self._monitor = None
        self._loaded.clear()

    async def wait_for_strikes_loaded(self) -> None:
        """Return once all strikes that were in force at the start are known here."""
        await self._loaded.wait()

    @property
    def strikes(self) -> list[Strike]:
        """The strikes in force, oldest first."""
        return list(self._rules.values())

    async def strike(
        self,
        function: AnyFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | str = "==",
        value: object = None,
    ) -> None:
        """Leave alone every task of `function`, or those whose `parameter` compares so with `value`.

        Raises:
            ValueError: neither function nor parameter, or an unknown operator.
            Unserializable: the codec does not take the value; nothing was written.
        """
        await self.send_instruction(make_strike(function, parameter, operator, value))

    async def restore(
        self,
        function: AnyFunction | str | None = None,
        parameter: str | None = None,
        operator: Operator | str = "==",
        value: object = None,
    ) -> None:
        """Take back the strike that was made with the same arguments."""
        await self.send_instruction(Restore(make_strike(function, parameter, operator, value)))

    async def send_instruction(self, instruction: Instruction) -> None:
        """Record an instruction for all; once it is recorded it is followed here, too."""
        if isinstance(instruction, Restore):
            strike, data = instruction.strike, None  # also of a value that the codec does not take any more
        else:
            strike, data = instruction, instruction.encode(self._codec, self.name)
        if self._backend is not None:
            rule_id = strike.rule_id()
            place = await self._backend.strike(rule_id, data)
            if place <= max(self._told, self._untold.get(rule_id, 0)):
                return  # told already, and perhaps something newer
            self._untold[rule_id] = place
        self.update(instruction)

    def update(self, instruction: Instruction) -> None:
        """Follow an instruction here only."""
        if isinstance(instruction, Restore):
            self._remove(instruction.strike.rule_id())
        else:
            self._put(instruction.rule_id(), instruction)

    def add_condition(self, condition: Condition) -> None:
        """Strike, here only, whatever `condition` is true for."""
        self._conditions.append(condition)
        self._changed()

    def remove_condition(self, condition: Condition) -> None:
        """Take back a condition.

        Raises:
            ValueError: it was not added.
        """
        self._conditions.remove(condition)
        self._changed()

    def is_stricken(self, target: "Execution | Mapping[str, object]") -> bool:
        """Whether a strike, or a condition, tells to leave this alone.

        Args:
            target: an execution, or parameters by name (then only strikes without a function count).
        """
        if not self.in_effect:
            return False
        if isinstance(target, Mapping):
            arguments = dict(target)
            return any(self._matches(rule, None, arguments) for rule in self._rules.values())
        arguments = target.task.arguments(target.args, target.kwargs)
        name = target.function_name
        if any(self._matches(rule, name, arguments) for rule in self._rules.values()):
            return True
        return any(self._holds(condition, target) for condition in self._conditions)

    @staticmethod
    def _holds(condition: Condition, target: "Execution") -> bool:
        try:
            return bool(condition(target))
        except Exception as error:  # noqa: BLE001 - a user's condition that fails must not keep tasks from running
            logger.warning("a condition for strikes raised %s on %r, which is not struck", type(error).__name__, target)
            return False

    def _matches(self, rule: Strike, function: str | None, arguments: Mapping[str, object]) -> bool:
        if rule.function is not None and rule.function != function:
            return False
        if rule.parameter is None:
            return True
        if rule.parameter not in arguments:
            return False
        try:
            return bool(COMPARE[rule.operator](arguments[rule.parameter], rule.value))
        except Exception as error:  # noqa: BLE001 - whatever a user's value does when compared, it is not struck
            complaint = f"{rule.function}.{rule.parameter} {rule.operator.value}"
            if complaint not in self._complained:
                self._complained.add(complaint)
                logger.warning(
                    "a strike on %s cannot be compared with a task's value: %s", complaint, type(error).__name__
                )
            return False

    def _put(self, rule_id: str, strike: Strike) -> None:
        if rule_id not in self._rules:
            STRIKES_IN_EFFECT.add(1, self._labels())
        self._rules[rule_id] = strike
        self._changed()

    def _remove(self, rule_id: str) -> None:
        if self._rules.pop(rule_id, None) is not None:
            STRIKES_IN_EFFECT.add(-1, self._labels())
            self._changed()

    def _changed(self) -> None:
        self.in_effect = bool(self._rules or self._conditions)

    def _labels(self) -> dict[str, str]:
        return {"docket.name": self.name}

    async def _follow(self, backend: Backend) -> None:
        failures = 0
        while True:
            if self._has_followed:
                self._take(StrikesReset())  # what is known from the last time may be over
            try:
                async with backend.strikes() as events:
                    async for event in events:
                        self._take(event)
                        failures = 0
            except BackendError as error:
                failures += 1
                logger.warning("cannot follow the strikes of %s, will try again: %s", self.name, error)
            await sleep(backend.clock, backoff(failures + 1, SECOND // 20, 2 * SECOND))

    def _take(self, event: StrikeEvent) -> None:
        if isinstance(event, StrikesCaughtUp):
            self._told = event.place
            for rule_id in [rule_id for rule_id, place in self._untold.items() if place <= event.place]:
                del self._untold[rule_id]
                self._remove(rule_id)  # the history has passed over it: others have taken it back
            for rule_id in self._unconfirmed - self._untold.keys():
                self._remove(rule_id)
            self._unconfirmed.clear()
            self._has_followed = True
            self._loaded.set()
        elif isinstance(event, StrikesReset):
            self._told = 0
            self._unconfirmed = set(self._rules)
            self._untold.clear()  # the history is read after this: it has them, unless the store has lost them
        else:
            self._take_rule(*event)

    def _take_rule(self, rule_id: str, instruction: bytes | None, place: int) -> None:
        self._unconfirmed.discard(rule_id)
        self._told = max(self._told, place)
        if place < self._untold.get(rule_id, 0):
            return
        self._untold.pop(rule_id, None)
        if instruction is None:
            self._remove(rule_id)
            return
        try:
            self._put(rule_id, Strike.decode(self._codec, self.name, rule_id, instruction))
        except (CodecError, ValueError, TypeError) as error:
            self.undecodable += 1
            logger.warning("skipped a strike that cannot be read: %s", error)
