"""The states of a task and every legal transition between them, as data.

`TRANSITIONS` is total over what can happen to one key: tests walk it against every backend, and the
documentation is drawn from it. A pair that is not in the table changes nothing.
"""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """What a reader sees of a task."""

    SCHEDULED = "scheduled"
    """Its time has not come, or it is parked in front of a gate."""
    QUEUED = "queued"
    """Ready: the next claim that asks for its function may take it."""
    RUNNING = "running"
    """Claimed: one holder has it under a lease."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


PENDING = frozenset({State.SCHEDULED, State.QUEUED})
LIVE = PENDING | {State.RUNNING}
TERMINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


class Stage(StrEnum):
    """Where one key stands: the states, told apart where the same operation has another outcome."""

    ABSENT = "absent"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    PARKED = "parked"
    RUNNING = "running"
    CANCELLING = "cancelling"
    """Running, and its cancel was requested."""
    LAPSED = "lapsed"
    """Running, its lease has run out, and no claim has taken it over yet."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def state(self) -> State | None:
        """The state a reader sees in this stage; None where there is no record."""
        return _SEEN[self]


_SEEN: dict[Stage, State | None] = {
    Stage.ABSENT: None,
    Stage.SCHEDULED: State.SCHEDULED,
    Stage.QUEUED: State.QUEUED,
    Stage.PARKED: State.SCHEDULED,
    Stage.RUNNING: State.RUNNING,
    Stage.CANCELLING: State.RUNNING,
    Stage.LAPSED: State.RUNNING,
    Stage.COMPLETED: State.COMPLETED,
    Stage.FAILED: State.FAILED,
    Stage.CANCELLED: State.CANCELLED,
}


class Trigger(StrEnum):
    """What can happen to a key. The `ack_` ones are sent with the claim that holds the key."""

    ADD_NOW = "enqueue, keep"
    ADD_LATER = "schedule, keep"
    REPLACE_NOW = "enqueue, replace"
    REPLACE_LATER = "schedule, replace"
    CANCEL = "cancel"
    CLEAR = "clear"
    DUE = "its time comes"
    CLAIM = "claim"
    LAPSE = "its lease runs out, and a claim with limit 0 comes by"
    EXPIRE = "its retention ends"
    ACK_COMPLETE = "ack complete"
    ACK_FAIL = "ack fail"
    ACK_CANCEL = "ack cancel"
    ACK_SUCCESSOR = "ack complete with a successor"
    ACK_RETRY = "ack retry"
    ACK_POSTPONE = "ack postpone"
    ACK_PARK = "ack park"
    ACK_RELEASE = "ack release"


class Transition(NamedTuple):
    """One row: in `source`, `trigger` leads to `target`."""

    source: Stage
    trigger: Trigger
    target: Stage


def _rows() -> list[Transition]:
    rows: list[Transition] = []
    free = (Stage.ABSENT, Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED)
    pending = (Stage.SCHEDULED, Stage.QUEUED, Stage.PARKED)
    held = (Stage.RUNNING, Stage.CANCELLING, Stage.LAPSED)

    for source in free:
        rows.append(Transition(source, Trigger.ADD_NOW, Stage.QUEUED))
        rows.append(Transition(source, Trigger.ADD_LATER, Stage.SCHEDULED))
    for source in Stage:
        rows.append(Transition(source, Trigger.REPLACE_NOW, Stage.QUEUED))
        rows.append(Transition(source, Trigger.REPLACE_LATER, Stage.SCHEDULED))
    for source in pending:
        rows.append(Transition(source, Trigger.CANCEL, Stage.CANCELLED))
        rows.append(Transition(source, Trigger.CLEAR, Stage.CANCELLED))
    rows += [Transition(source, Trigger.EXPIRE, Stage.ABSENT) for source in free[1:]]
    rows += [
        Transition(Stage.SCHEDULED, Trigger.DUE, Stage.QUEUED),
        Transition(Stage.QUEUED, Trigger.CLAIM, Stage.RUNNING),
        Transition(Stage.PARKED, Trigger.CLAIM, Stage.RUNNING),  # once its gate has a free permit
        Transition(Stage.LAPSED, Trigger.CLAIM, Stage.RUNNING),
        Transition(Stage.RUNNING, Trigger.LAPSE, Stage.LAPSED),
        Transition(Stage.RUNNING, Trigger.CANCEL, Stage.CANCELLING),
        Transition(Stage.LAPSED, Trigger.CANCEL, Stage.CANCELLING),
        Transition(Stage.CANCELLING, Trigger.LAPSE, Stage.CANCELLED),
    ]
    for source in held:
        cancelling = source is Stage.CANCELLING
        rows += [
            Transition(source, Trigger.ACK_COMPLETE, Stage.COMPLETED),
            Transition(source, Trigger.ACK_FAIL, Stage.FAILED),
            Transition(source, Trigger.ACK_CANCEL, Stage.CANCELLED),
        ]
        going_on = (
            (Trigger.ACK_SUCCESSOR, Stage.SCHEDULED),
            (Trigger.ACK_RETRY, Stage.SCHEDULED),
            (Trigger.ACK_POSTPONE, Stage.SCHEDULED),
            (Trigger.ACK_PARK, Stage.PARKED),
            (Trigger.ACK_RELEASE, Stage.QUEUED),
        )
        for trigger, target in going_on:
            if cancelling:
                dropped = trigger is Trigger.ACK_SUCCESSOR
                target = Stage.COMPLETED if dropped else Stage.CANCELLED
            rows.append(Transition(source, trigger, target))
    return rows


TRANSITIONS: tuple[Transition, ...] = tuple(_rows())
"""Every legal transition; successor, retry and postpone are meant with a delay."""
