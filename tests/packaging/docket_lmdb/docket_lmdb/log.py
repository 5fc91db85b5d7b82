"""What has happened, in order: a ring of the latest events, which readers of every process follow."""

import json
from typing import Any, NamedTuple, cast

from docket_core.backend.records import (
    CancelRequested,
    Event,
    Progress,
    ProgressMade,
    StateChanged,
    StrikeRule,
    StrikesCaughtUp,
)
from docket_core.backend.states import State
from docket_lmdb.database import Tx, number

LENGTH = 20_000
"""How many events are kept; who falls further behind has lost some, which a subscription may."""

Told = Event | StrikeRule


class Portion(NamedTuple):
    """What a reader of the log gets."""

    events: list[Told]
    position: int
    """Where to go on."""
    broken: bool
    """Whether events before these have been overwritten unread."""
    snapshot: int
    """The commit that was read."""


def tell(tx: Tx, event: Told) -> None:
    place = tx.next(b"log")
    fields: list[object] = list(event)
    if isinstance(event, StrikeRule):
        fields = [event.rule_id, event.instruction.hex() if event.instruction is not None else None, event.place]
    tx.put(b"v" + number(place), json.dumps([type(event).__name__, *fields]).encode())
    if place > LENGTH:
        tx.delete(b"v" + number(place - LENGTH))


def read(tx: Tx, since: int, limit: int = 1000) -> Portion:
    """Up to `limit` events after the position `since`."""
    oldest = max(0, tx.count(b"log") - LENGTH)
    events: list[Told] = []
    start = max(since, oldest)
    for _, text in tx.walk(b"v", number(start + 1)):
        events.append(_event(*cast("list[Any]", json.loads(text))))
        if len(events) == limit:
            break
    return Portion(events, start + len(events), since < oldest, tx.snapshot)


def rules(tx: Tx) -> tuple[list[StrikeRule | StrikesCaughtUp], int]:
    """The strikes in force, and the position in the log after them."""
    found: list[StrikeRule | StrikesCaughtUp] = []
    for _, text in tx.walk(b"s"):
        rule_id, instruction, place = cast("tuple[str, str, int]", json.loads(text))
        found.append(StrikeRule(rule_id, bytes.fromhex(instruction), place))
    return [*found, StrikesCaughtUp(tx.count(b"strikes"))], tx.count(b"log")


def _event(kind: str, *fields: Any) -> Told:
    if kind == "StateChanged":
        key, run, generation, state, *rest = fields
        return StateChanged(key, run, generation, State(state), *rest)
    if kind == "ProgressMade":
        key, run, generation, progress = fields
        return ProgressMade(key, run, generation, Progress(*progress))
    if kind == "CancelRequested":
        return CancelRequested(*fields)
    rule_id, instruction, place = fields
    return StrikeRule(rule_id, bytes.fromhex(instruction) if instruction is not None else None, place)
