"""What the pure model keeps: runs, keys and permits, and how a reader must see them."""

from dataclasses import dataclass, field

from docket_core.backend.clock import Micros
from docket_core.backend.model import PermitRequest, Task
from docket_core.backend.records import Hold, Last, Live, Progress, Record
from docket_core.backend.states import State


@dataclass(eq=False)
class Run:
    """A run that has not ended: pending, running, or a hold."""

    task: Task
    generation: int
    when: Micros
    ready: tuple[Micros, Micros]
    """The moment it became ready, or two between which the contract leaves that open."""
    attempt: int
    delivery: int = 0
    token: int = 0
    worker: str = ""
    started_at: Micros = 0
    lease_until: Micros = 0
    recovery: Micros = 0
    cancel_requested: bool = False
    progress: Progress | None = None
    parked: PermitRequest | None = None
    woken: PermitRequest | None = None
    """What it was parked for, claimed for, and has not acquired yet."""
    places: dict[str, Micros] = field(default_factory=dict[str, Micros])

    @property
    def running(self) -> bool:
        return self.token != 0

    def lapsed(self, now: Micros) -> bool:
        return self.running and self.lease_until <= now

    def state(self, now: Micros) -> State:
        if self.running:
            return State.RUNNING
        return State.QUEUED if self.parked is None and self.when <= now else State.SCHEDULED

    def pending_again(self, now: Micros, generation: int, when: Micros) -> None:
        """The same run, as a later generation."""
        self.generation, self.when, self.delivery = generation, when, 0
        self.ready = (max(now, when), max(now, when))
        self.token, self.progress, self.woken = 0, None, None


@dataclass(eq=False)
class Key:
    """All that the model knows of one key."""

    generation: int = 0
    live: Run | None = None
    hold: Run | None = None
    last: Last | None = None
    last_ran: bool = False
    """Whether the last part ended from RUNNING; else its worker and start say nothing."""
    acked: int = 0
    acked_end: bool = False
    """Whether that ack ended the run: what it is remembered by may be released with the last part."""
    forgotten_ack: int = 0
    unswept: bool = False
    """A hold's lease has run out, and no claim or prune has come by since."""

    def kept(self, now: Micros) -> bool:
        return self.live is not None or self.hold is not None or self.last_kept(now) is not None

    def last_kept(self, now: Micros) -> Last | None:
        return self.last if self.last is not None and self.last.expires_at > now else None


@dataclass(eq=False)
class Held:
    """A permit, unexpired or remembered."""

    request: PermitRequest
    run: Run | None
    until: Micros
    reserved: bool = False
    given_back: bool = False
    """It was released after it had expired: whether it is remembered is left open."""

    @property
    def with_lease(self) -> bool:
        return self.request.bound or self.reserved


def last_of(run: Run, state: State, now: Micros, expires_at: Micros) -> Last:
    """The run as it has just ended."""
    task = run.task
    return Last(
        *(state, task.function, task.payload, task.headers, task.run, run.generation, run.attempt, run.delivery),
        when=run.when,
        worker=run.worker,
        started_at=run.started_at,
        completed_at=now,
        expires_at=expires_at,
    )


def assert_seen(record: Record | None, name: str, key: Key | None, now: Micros) -> None:
    """What `get` or `scan` told of a key is what is true of it."""
    if key is None or not key.kept(now):
        assert record is None, f"{name} is not kept, but {record} was told"
        return
    assert record is not None, f"{name} is kept, but nothing of it was told"
    assert record.key == name
    assert_live(record.live, key.live, now)
    assert_last(record.last, key.last_kept(now), key.last_ran)
    assert_hold(record.hold, key.hold)


def assert_live(told: Live | None, run: Run | None, now: Micros) -> None:
    if run is None or told is None:
        assert (told is None) is (run is None), f"live part: {told} was told, {run} is true"
        return
    task = run.task
    expected = Live(
        *(run.state(now), task.function, task.payload, task.headers, task.run, run.generation),
        *(run.attempt, run.delivery, run.when),
        parked_at=told.parked_at if run.parked is not None else None,
        worker=run.worker if run.running else None,
        token=run.token if run.running else None,
        started_at=run.started_at if run.running else None,
        lease_until=run.lease_until if run.running else None,
        cancel_requested=run.cancel_requested,
        progress=run.progress if run.progress is not None or told.progress != Progress() else told.progress,
    )
    assert told == expected
    assert (told.parked_at is not None) is (run.parked is not None)


def assert_last(told: Last | None, last: Last | None, ran: bool) -> None:
    if last is None or told is None:
        assert told is last
        return
    expected = last
    if not ran:
        expected = expected._replace(worker=told.worker, started_at=told.started_at)
    if expected.reason == ANY_REASON:
        expected = expected._replace(reason=told.reason)
    if expected.reason == "poison":
        expected = expected._replace(error=told.error)
    assert told == expected


def assert_hold(told: Hold | None, run: Run | None) -> None:
    if run is None or told is None:
        assert (told is None) is (run is None), f"hold: {told} was told, {run} is true"
        return
    task = run.task
    assert told == Hold(
        *(task.function, task.payload, task.headers, task.run, run.generation, run.attempt, run.delivery, run.when),
        *(run.worker, run.token, run.started_at, run.lease_until, run.cancel_requested),
    )


ANY_REASON = "(a reason that the contract does not word)"
