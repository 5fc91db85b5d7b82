"""Strikes: the rules in force, kept in order, and those who follow them."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from docket_core.backend.records import StrikeEvent, StrikeRule, StrikesCaughtUp, StrikesReset
from docket_sqlite.transaction import Transaction

PUT = """
INSERT INTO docket_strikes (docket, rule_id, number, instruction) VALUES (?, ?, ?, ?)
ON CONFLICT (docket, rule_id) DO UPDATE SET number = excluded.number, instruction = excluded.instruction
"""
REMOVE = "DELETE FROM docket_strikes WHERE docket = ? AND rule_id = ?"

Rules = dict[str, tuple[int, bytes]]
"""The rules in force, with their numbers in the order of all strikes."""


def strike(tx: Transaction, rule_id: str, instruction: bytes | None) -> int:
    """Record an instruction; the newest of a rule counts, None removes the rule. Answers its place."""
    place = tx.tell_strike(rule_id, instruction)
    if instruction is None:
        tx.execute(REMOVE, (tx.docket, rule_id))
    else:
        tx.execute(PUT, (tx.docket, rule_id, place, instruction))
    return place


class StrikeReader:
    """One follower of the strikes, on the event loop."""

    def __init__(self) -> None:
        self._number: int | None = None
        """Up to which strike all is known; None before the history was read."""
        self._behind = 0
        self._unread: deque[StrikeEvent] = deque()
        self._bell = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> AsyncIterator[StrikeEvent]:
        return self

    async def __anext__(self) -> StrikeEvent:
        while not self._unread:
            if self._closed:
                raise StopAsyncIteration
            self._bell.clear()
            await self._bell.wait()
        return self._unread.popleft()

    def close(self) -> None:
        self._closed = True
        self._bell.set()

    def hear(self, rule: StrikeRule) -> bool:
        """A strike was told; False if one before it is not known, so that the table has to be read."""
        if self._number is None or rule.place > self._number + 1:
            return False
        if rule.place == self._number + 1:
            self._number = rule.place
            self._unread.append(rule)
            self._bell.set()
        return True

    def see(self, number: int, rules: Rules) -> None:
        """The table as it was read after `number` strikes."""
        if self._number is None:
            self._start(number, rules)
        elif number < self._number:
            self._behind += 1
            if self._behind > 1:  # one read may have been overtaken by news; two in a row: it is another store
                self._start_again(number, rules)
        else:
            self._behind = 0
            if number > self._number:  # what was struck and restored in between is not in the table any more
                self._start_again(number, rules)

    def _start_again(self, number: int, rules: Rules) -> None:
        self._unread.append(StrikesReset())
        self._start(number, rules)

    def _start(self, number: int, rules: Rules) -> None:
        self._number, self._behind = number, 0
        self._unread += [StrikeRule(rule, instruction, place) for rule, (place, instruction) in rules.items()]
        self._unread.append(StrikesCaughtUp(number))
        self._bell.set()
