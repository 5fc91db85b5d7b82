"""Those who want to know of one memory docket: who waits for work, who listens to events, who follows the strikes."""

import threading

from docket_core.backend.clock import Micros
from docket_core.backend.records import Event, StrikeRule
from docket_memory.events import Listener, StrikeReader, Waiter
from docket_memory.gates import Gates


class Audience:
    """Tells each what concerns it. Every method is called under `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.gates = Gates()
        self.rules: dict[str, StrikeRule] = {}
        self.strikes = 0
        """How many instructions there have been: the place of the newest."""
        self.pushes = 0
        """How often there was news for those who wait: who saw another number has missed some."""
        self.waiters: set[Waiter] = set()
        self._listeners: set[Listener] = set()
        self.watched = False
        """Whether anyone listens to states and progress; if not, no such events are made."""
        self.strike_readers: set[StrikeReader] = set()

    def push(self, function: str, at: Micros) -> None:
        """Wake those who wait for such work."""
        self.pushes += 1
        for waiter in self.waiters:
            if waiter.concerns(function, at):
                waiter.ring()

    def wake_parked(self) -> None:
        """Permits may have been freed: wake those who may now claim parked tasks, and those about to wait."""
        if self.gates.next_wake(None) is None:
            return
        self.pushes += 1
        for waiter in self.waiters:
            at = self.gates.next_wake(waiter.functions)
            if at is not None and (waiter.until is None or at < waiter.until):
                waiter.ring()

    def tell(self, event: Event) -> None:
        """Let those who listen know."""
        for listener in self._listeners:
            listener.tell(event)

    def listen(self, listener: Listener) -> None:
        """Tell this listener from now on."""
        self._listeners.add(listener)
        self.watched = self.watched or listener.wants_events

    def leave(self, listener: Listener) -> None:
        """Tell it no more."""
        self._listeners.discard(listener)
        self.watched = any(left.wants_events for left in self._listeners)

    def strike(self, rule_id: str, instruction: bytes | None) -> int:
        """Put a rule in force, or out of it, and tell those who follow."""
        self.strikes += 1
        rule = StrikeRule(rule_id, instruction, self.strikes)
        self.rules.pop(rule_id, None)
        if instruction is not None:
            self.rules[rule_id] = rule
        for reader in self.strike_readers:
            reader.tell(rule)
        return rule.place
