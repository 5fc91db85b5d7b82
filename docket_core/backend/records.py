"""What can be seen of a docket, and the news of it: the records that a backend shows without being asked to change any.

Times are microseconds since the epoch on the store's clock; `docket_core.backend.model` says what they stand for.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from docket_core.backend.clock import Micros
from docket_core.backend.states import State


class Progress(NamedTuple):
    """How far the present grant of a task has come: from zero at its claim, gone at its end."""

    current: int = 0
    total: int | None = None
    message: str | None = None
    updated_at: Micros | None = None


class Live(NamedTuple):
    """The live part of a record."""

    state: State
    function: str
    payload: bytes
    headers: bytes
    run: str
    generation: int
    attempt: int
    delivery: int
    when: Micros
    parked_at: Micros | None = None
    worker: str | None = None
    """worker, token, started_at, lease_until: of the present claim; None unless RUNNING."""
    token: int | None = None
    started_at: Micros | None = None
    lease_until: Micros | None = None
    cancel_requested: bool = False
    progress: Progress | None = None


class Last(NamedTuple):
    """The last part of a record: how its latest ended run ended."""

    state: State
    function: str
    payload: bytes
    headers: bytes
    run: str
    generation: int
    attempt: int
    delivery: int
    when: Micros
    worker: str | None
    started_at: Micros | None
    completed_at: Micros
    expires_at: Micros
    result: bytes | None = None
    error: str | None = None
    reason: str | None = None


class Hold(NamedTuple):
    """A replaced run that has not ended: it keeps the key, and can write nothing any more."""

    function: str
    payload: bytes
    headers: bytes
    run: str
    generation: int
    attempt: int
    delivery: int
    when: Micros
    worker: str
    token: int
    started_at: Micros
    lease_until: Micros
    cancel_requested: bool = False


class Record(NamedTuple):
    """All that is kept of a key; at least one part is not None."""

    key: str
    live: Live | None = None
    last: Last | None = None
    hold: Hold | None = None


class Page(NamedTuple):
    """A portion of a scan; `after` continues it, None ends it."""

    records: Sequence[Record]
    after: str | None


class FunctionCounts(NamedTuple):
    """How many live tasks of one function there are, exactly. Parked ones are counted in `parked` only,
    a hold counts as running."""

    function: str
    scheduled: int = 0
    queued: int = 0
    running: int = 0
    parked: int = 0


class WorkerRecord(NamedTuple):
    """A worker that has shown itself within its time to live."""

    name: str
    functions: frozenset[str]
    last_seen: Micros


class Topic(StrEnum):
    """What one can subscribe to."""

    STATE = "state"
    PROGRESS = "progress"
    CANCEL = "cancel"


class StateChanged(NamedTuple):
    """A task has come into a state."""

    key: str
    run: str
    generation: int
    state: State
    when: Micros
    worker: str | None = None
    started_at: Micros | None = None
    completed_at: Micros | None = None
    error: str | None = None


class ProgressMade(NamedTuple):
    """The progress of a running task has changed."""

    key: str
    run: str
    generation: int
    progress: Progress


class CancelRequested(NamedTuple):
    """The holder of this grant is asked to stop."""

    key: str
    generation: int
    token: int


Event = StateChanged | ProgressMade | CancelRequested


class StrikeRule(NamedTuple):
    """An instruction in force, or its removal."""

    rule_id: str
    instruction: bytes | None
    place: int
    """What `strike` answered: it grows with each instruction of the docket."""


class StrikesCaughtUp(NamedTuple):
    """All that was in force has been told; what follows is live. Said once after each start or reset."""

    place: int
    """Every instruction up to this place has been taken into account."""


class StrikesReset(NamedTuple):
    """The stream was broken: forget everything, the history follows again."""


StrikeEvent = StrikeRule | StrikesCaughtUp | StrikesReset
