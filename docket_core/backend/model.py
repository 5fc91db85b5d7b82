"""The records that cross the seam: plain, immutable, and free of any store's words.

Times are microseconds since the epoch on the store's clock, lengths of time are microseconds (`Micros`).
Payloads, results and headers are opaque bytes: a backend never looks into them. Records are named
tuples because a few of them are built for every task, and a frozen dataclass costs five times as much.

A key has at most one *live* part (scheduled, queued, running, parked), one *last* part (ended, kept for
the retention) and, after a replace of a running task, one *hold* (the replaced run that has not ended).
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar, cast

from docket_core.backend.clock import Micros
from docket_core.backend.states import State
from docket_core.errors import DocketError

R = TypeVar("R")


class _Maker(Protocol):
    def __call__(self, kind: type[R], values: tuple[object, ...], /) -> R: ...


make = cast("_Maker", tuple.__new__)
"""A record of all its values, in their order: half the time of its constructor, where one is made for every task."""


class OnConflict(StrEnum):
    """What an add does when its key has a live part already."""

    KEEP = "keep"
    """Leave the first as it is and answer EXISTS."""
    REPLACE = "replace"
    """Overwrite what is pending; supersede what runs."""


class Task(NamedTuple):
    """A call that is to be made: what `enqueue` and `schedule` take, and an ack's successor."""

    key: str
    """1 to 512 bytes of UTF-8 without control characters; at most one live part per key."""
    function: str
    """The name under which workers know the function."""
    payload: bytes
    """The encoded arguments."""
    run: str
    """Made by the caller, unique; the same for retries, so that who waits can follow it."""
    headers: bytes = b""
    """Encoded context that travels with the call."""
    when: Micros | None = None
    """The moment before which it must not start, where a user named a moment."""
    delay: Micros | None = None
    """Microseconds from the store's now, where a user named a delay. With neither: now."""
    attempt: int = 1


class EnqueueStatus(StrEnum):
    ACCEPTED = "accepted"
    """The task is now the key's live part."""
    EXISTS = "exists"
    """The key has a live part, which was kept."""
    REFUSED = "refused"
    """Nothing was written for this item; `error` says why."""


class Enqueued(NamedTuple):
    """The answer to one added task."""

    status: EnqueueStatus
    run: str
    """The run that the key's live part has now: the task's own, or the one that was kept."""
    generation: int = 0
    when: Micros = 0
    """When that live part is due."""
    state: State = State.QUEUED
    """And where it stands: RUNNING, too, where it was handed over to a worker in this very step."""
    error: DocketError | None = None


class Claim(NamedTuple):
    """A grant: one task, taken by one worker under a lease. (key, generation, token) is its identity."""

    key: str
    generation: int
    """+1 at every accepted add, replace and successor; the same at redelivery and release."""
    token: int
    """The fence: issued at claim, strictly increasing within a docket."""
    function: str
    payload: bytes
    headers: bytes
    run: str
    when: Micros
    delivery: int
    """Grants of this generation so far, this one included; more than 1 is a redelivery."""
    attempt: int
    """The user's retries, from 1."""
    claimed_at: Micros
    lease_until: Micros


class Ended(NamedTuple):
    """A task that a claim or prune brought to its end instead of granting it."""

    key: str
    function: str
    run: str
    state: State
    reason: str | None


Mark = object
"""What `claim` hands to `wait`: opaque to all but the backend that made it."""


class Claimed(NamedTuple):
    """The answer of one claim."""

    claims: Sequence[Claim]
    now: Micros
    """The store's time of this claim."""
    next_at: Micros | None
    """The earliest moment at which there is something to do for the functions asked for, as it is known
    now: a due time, the moment a lapsed lease may be taken over, a permit's expiry in a gate where a task is
    parked. May be early (a bound from below), never late. None: there is nothing of these functions at all."""
    mark: Mark
    ended: Sequence[Ended] = ()


Take = Callable[[Sequence[Claim], Micros], None]
"""Told of claims that were handed over to a worker that waits, and of the store's time."""


class Renewal(StrEnum):
    RENEWED = "renewed"
    LOST = "lost"
    """The lease ran out, or the claim ended: whoever runs this must stop."""
    CANCEL = "cancel"
    """Renewed, and the task's cancel is requested."""


class Gate(NamedTuple):
    """A place that at most `limit` holders of unexpired permits can be past."""

    name: str
    limit: int


class PermitRequest(NamedTuple):
    """One permit that a running task wants (`acquire`), gives back (`release`) or waits for (`Ack.park`)."""

    claim: Claim
    gate: Gate
    holder: str
    """The identity within the gate: the same holder never takes two permits."""
    ttl: Micros
    """How long a granted permit lasts."""
    bound: bool = False
    """Lives with the lease: renewed with it, freed by the ack or by the claim that takes over."""
    extend_on_conflict: bool = False
    """Being denied pushes the expiry of those who hold permits to now + ttl; such a permit is freed when
    its holder's live part ends or is replaced."""


class PermitStatus(StrEnum):
    GRANTED = "granted"
    """New, or the one that the claim took for a parked task."""
    HELD = "held"
    """The holder has it already, unexpired."""
    LAPSED = "lapsed"
    """The holder's had expired, there was capacity still, and it was taken again."""
    DENIED = "denied"
    LOST = "lost"
    """The claim is not current, or its lease has run out."""
    REFUSED = "refused"
    """A name of the request is outside its bounds."""


class Permit(NamedTuple):
    """The answer to one `PermitRequest` of an acquire."""

    status: PermitStatus
    until: Micros | None = None
    """GRANTED, HELD, LAPSED: the permit's expiry. DENIED: the earliest expiry in the gate that denies."""
    gate: str = ""
    """The gate that the answer speaks of. All of one task's requests are granted together or none is;
    the answers to a denied group all name the first gate that denies."""


class Released(StrEnum):
    RELEASED = "released"
    ABSENT = "absent"
    """The holder has no permit in that gate."""
    LOST = "lost"
    """The claim is not current, or its lease has run out."""


class Verdict(StrEnum):
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"
    RETRY = "retry"
    POSTPONE = "postpone"
    PARK = "park"
    RELEASE = "release"


END_OF = {Verdict.COMPLETE: State.COMPLETED, Verdict.FAIL: State.FAILED, Verdict.CANCEL: State.CANCELLED}
"""The state in which a run ends by these verdicts; by the others it goes on."""


class Ack(NamedTuple):
    """The end of a claim. Built by the named constructors only."""

    claim: Claim
    verdict: Verdict
    result: bytes | None = None
    error: str | None = None
    reason: str | None = None
    successor: Task | None = None
    when: Micros | None = None
    delay: Micros | None = None
    attempt: int = 1
    request: PermitRequest | None = None

    @staticmethod
    def complete(claim: Claim, result: bytes | None = None, *, successor: Task | None = None) -> "Ack":
        """It returned. `successor` (same key, a new run) goes on in the same step."""
        return Ack(claim, Verdict.COMPLETE, result, None, None, successor)

    @staticmethod
    def fail(
        claim: Claim,
        error: str,
        result: bytes | None = None,
        *,
        reason: str | None = None,
        successor: Task | None = None,
    ) -> "Ack":
        """It raised. `error` is text for people, `result` the encoded exception."""
        return Ack(claim, Verdict.FAIL, result, error, reason, successor)

    @staticmethod
    def cancel(claim: Claim, reason: str | None = None, *, successor: Task | None = None) -> "Ack":
        """It was stopped, or was denied and is dropped."""
        return Ack(claim, Verdict.CANCEL, None, None, reason, successor)

    @staticmethod
    def retry(claim: Claim, *, attempt: int, when: Micros | None = None, delay: Micros | None = None) -> "Ack":
        """The same run again: generation + 1, `attempt` as given, delivery from 0, places in gates lost."""
        return Ack(claim, Verdict.RETRY, None, None, None, None, when, delay, attempt)

    @staticmethod
    def postpone(claim: Claim, *, when: Micros | None = None, delay: Micros | None = None) -> "Ack":
        """The same run later: as `retry`, with the attempt as it was."""
        return Ack(claim, Verdict.POSTPONE, None, None, None, None, when, delay, claim.attempt)

    @staticmethod
    def park(claim: Claim, request: PermitRequest) -> "Ack":
        """Wait in front of the gate that denied `request`: generation + 1, `when` untouched."""
        return Ack(claim, Verdict.PARK, attempt=claim.attempt, request=request)

    @staticmethod
    def release(claim: Claim) -> "Ack":
        """Give it back unrun: same generation, the delivery is not counted, it keeps its place."""
        return Ack(claim, Verdict.RELEASE, attempt=claim.attempt)


class Acked(StrEnum):
    """The answer to one ack; the first that is true, in this order, after REFUSED."""

    ACKED = "acked"
    """Applied, now or by an earlier ack with the same token (a repeated ack changes nothing)."""
    GONE = "gone"
    """Nothing of the key is kept."""
    SUPERSEDED = "superseded"
    """The claim's generation is older than the record's; a hold, if it was one, has ended."""
    LOST = "lost"
    """Another token holds the key."""
    REFUSED = "refused"
    """Something in it is outside its bounds; nothing was written for this item."""


class CancelReply(StrEnum):
    CANCELLED = "cancelled"
    """It was pending, and has ended."""
    REQUESTED = "requested"
    """It runs: its worker is asked to stop, and the ack decides."""
    GONE = "gone"
    """There is nothing live under that key."""


class ProgressUpdate(NamedTuple):
    """A change of a grant's progress. None leaves a figure as it is."""

    claim: Claim
    increment: int = 0
    total: int | None = None
    message: str | None = None
    clear_message: bool = False


class ProgressReply(StrEnum):
    RECORDED = "recorded"
    SUPERSEDED = "superseded"
    LOST = "lost"
    GONE = "gone"
