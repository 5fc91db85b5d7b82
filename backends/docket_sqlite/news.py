"""What a transaction has to tell: work that is ready, events, strikes. It travels between instances as JSON."""

import base64
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from docket_core.backend.clock import Micros
from docket_core.backend.records import CancelRequested, Event, Progress, ProgressMade, StateChanged, StrikeRule
from docket_core.backend.states import State

PORTION = 40
"""Events in one datagram."""


class Wanted(IntEnum):
    """What somebody wants to hear of; each more than those before it."""

    WORK = 0
    ORDERS = 1
    """Strikes and cancels too: every docket, and every worker, listens to these, and they are rare."""
    EVENTS = 2
    """States and progress too, some of which every task has."""


class News:
    """Collected while a transaction runs, told after its commit.

    Every event carries its number in the docket's sequence: who hears of commits out of order can tell.
    """

    __slots__ = ("events", "lost", "strikes", "work")

    def __init__(self) -> None:
        self.work: dict[str, tuple[int, Micros]] = {}
        """function -> (number of its newest push, earliest moment that was pushed)."""
        self.events: list[tuple[int, Event]] = []
        self.strikes: list[StrikeRule] = []
        """Their places have no gaps."""
        self.lost = False
        """Something could not be told: look for yourself."""

    def __bool__(self) -> bool:
        return bool(self.work or self.events or self.strikes or self.lost)

    def push(self, function: str, number: int, at: Micros) -> None:
        known = self.work.get(function)
        self.work[function] = (number, at if known is None or at < known[1] else known[1])

    def part(self, wanted: Wanted) -> "News":
        """What is of it for those who want this."""
        if wanted is Wanted.EVENTS:
            return self
        news = News()
        news.work, news.lost = self.work, self.lost
        if wanted is Wanted.ORDERS:
            news.strikes = self.strikes
            news.events = [told for told in self.events if isinstance(told[1], CancelRequested)]
        return news

    def portions(self) -> Iterator["News"]:
        """This news in parts that fit into a datagram, as long as no single event is too long."""
        for start in range(0, max(1, len(self.events)), PORTION):
            part = News()
            part.events = self.events[start : start + PORTION]
            if start == 0:
                part.work, part.strikes, part.lost = self.work, self.strikes, self.lost
            yield part

    def to_json(self) -> dict[str, Any]:
        strikes = [
            (place, rule_id, None if instruction is None else base64.b64encode(instruction).decode())
            for rule_id, instruction, place in self.strikes
        ]
        events = [(number, _KINDS[type(event)], *event) for number, event in self.events]
        return {"work": self.work, "events": events, "strikes": strikes, "lost": self.lost}

    @staticmethod
    def from_json(content: Any) -> "News":
        news = News()
        news.lost = bool(content.get("lost"))
        news.work = {str(name): (int(number), int(at)) for name, (number, at) in content.get("work", {}).items()}
        news.events = [(int(number), _MAKERS[kind](*fields)) for number, kind, *fields in content.get("events", ())]
        news.strikes = [
            StrikeRule(str(rule), None if data is None else base64.b64decode(data), int(place))
            for place, rule, data in content.get("strikes", ())
        ]
        return news


def _state_changed(key: str, run: str, generation: int, state: str, *rest: Any) -> Event:
    return StateChanged(key, run, generation, State(state), *rest)


def _progress_made(key: str, run: str, generation: int, progress: list[Any]) -> Event:
    return ProgressMade(key, run, generation, Progress(*progress))


_KINDS: dict[type[Event], str] = {StateChanged: "s", ProgressMade: "p", CancelRequested: "c"}
_MAKERS: dict[str, Any] = {"s": _state_changed, "p": _progress_made, "c": CancelRequested}
