"""What the store keeps of a key while it works with it, and how that is shown to readers."""

from docket_core.backend.clock import Micros
from docket_core.backend.model import Claim, PermitRequest, Task
from docket_core.backend.records import Hold, Last, Live, Progress, Record
from docket_core.backend.states import State

_RUNNING, _QUEUED, _SCHEDULED = State.RUNNING, State.QUEUED, State.SCHEDULED
"""Looked up once, for every task: a member of an enum costs as much as a call."""


class Part:
    """A run that has not ended: the live part of a record, or its hold."""

    __slots__ = (
        "attempt",
        "cancel_requested",
        "delivery",
        "function",
        "generation",
        "headers",
        "key",
        "lease_until",
        "parked_at",
        "payload",
        "pending_since",
        "permits",
        "places",
        "progress",
        "ready_at",
        "recovery",
        "request",
        "run",
        "sequence",
        "started_at",
        "token",
        "when",
        "worker",
    )

    def __init__(self, task: Task, generation: int, when: Micros, now: Micros, sequence: int) -> None:
        self.key = task.key
        self.function = task.function
        self.payload = task.payload
        self.headers = task.headers
        self.run = task.run
        self.attempt = task.attempt
        self.generation = generation
        self.delivery = 0
        self.when = when
        self.ready_at = when if when > now else now  # noqa: FURB136 - a call of max costs more
        self.sequence = sequence
        """With `ready_at` its place among its function's tasks."""
        self.pending_since = sequence
        """When it became pending, as `clear` counts."""
        self.token = 0
        self.worker = ""
        self.started_at: Micros = 0
        self.lease_until: Micros = 0
        self.recovery: Micros = 0
        """How long after the lease's end another claim may take it over."""
        self.cancel_requested = False
        self.progress: Progress | None = None
        self.parked_at: Micros | None = None
        self.request: PermitRequest | None = None
        """What it is parked for, or was woken for and has not acquired yet."""
        self.places: dict[str, int] | None = None
        """Its places in the gates where it has been parked, until its body runs."""
        self.permits: set[tuple[str, str]] | None = None
        """(gate, holder) of the permits that are bound to this run in some way."""

    @property
    def running(self) -> bool:
        return self.token != 0

    def state(self, now: Micros) -> State:
        if self.token:
            return _RUNNING
        return _QUEUED if self.parked_at is None and self.when <= now else _SCHEDULED

    def renew_pending(self, generation: int, when: Micros, now: Micros, sequence: int) -> None:
        """Become pending again as a later generation of the same run."""
        self.generation = generation
        self.delivery = 0
        self.when = when
        self.ready_at = max(now, when)
        self.sequence = self.pending_since = sequence
        self.drop_claim()

    def drop_claim(self) -> None:
        self.token = 0
        self.worker = ""
        self.progress = None

    def claim(self) -> Claim:
        return Claim(
            self.key,
            self.generation,
            self.token,
            self.function,
            self.payload,
            self.headers,
            self.run,
            self.when,
            self.delivery,
            self.attempt,
            self.started_at,
            self.lease_until,
        )

    def live(self, now: Micros) -> Live:
        held = self.token != 0
        return Live(
            self.state(now),
            self.function,
            self.payload,
            self.headers,
            self.run,
            self.generation,
            self.attempt,
            self.delivery,
            self.when,
            self.parked_at,
            self.worker if held else None,
            self.token if held else None,
            self.started_at if held else None,
            self.lease_until if held else None,
            self.cancel_requested,
            self.progress,
        )

    def hold(self) -> Hold:
        return Hold(
            self.function,
            self.payload,
            self.headers,
            self.run,
            self.generation,
            self.attempt,
            self.delivery,
            self.when,
            self.worker,
            self.token,
            self.started_at,
            self.lease_until,
            self.cancel_requested,
        )

    def last(
        self, state: State, now: Micros, expires_at: Micros, result: bytes | None, error: str | None, reason: str | None
    ) -> Last:
        held = self.token != 0
        return Last(
            state,
            self.function,
            self.payload,
            self.headers,
            self.run,
            self.generation,
            self.attempt,
            self.delivery,
            self.when,
            self.worker if held else None,
            self.started_at if held else None,
            now,
            expires_at,
            result,
            error,
            reason,
        )


class Entry:
    """All that is kept of one key."""

    __slots__ = ("acked", "generation", "hold", "last", "live")

    def __init__(self) -> None:
        self.generation = 0
        self.acked = 0
        """The token of the last ack that was applied."""
        self.live: Part | None = None
        self.last: Last | None = None
        self.hold: Part | None = None

    def record(self, key: str, now: Micros) -> Record | None:
        """What readers see; None where retention has released all there was."""
        last = self.last if self.last is not None and self.last.expires_at > now else None
        hold = self.hold if self.hold is not None and self.hold.lease_until > now else None
        if self.live is None and last is None and hold is None:
            return None
        return Record(
            key,
            self.live.live(now) if self.live is not None else None,
            last,
            hold.hold() if hold is not None else None,
        )
