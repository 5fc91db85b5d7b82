"""The Backend protocol: everything that docket-core asks of a store, and the rules that come with it.

Rules for all operations
- Replies are positional, one per item. Superseded, lost, denied and conflict are answers, never exceptions.
- What is raised is `BackendUnavailable`, `Overloaded`, `SchemaMismatch` or `CapabilityMissing` from
  `docket_core.errors`, and nothing else. An operation that raised may be repeated: adds carry their run, acks
  their token.
- Atomic per item: state, dedup, result, permits, events and successor of one item change together or not at
  all. A batch may be applied in parts. One bad item never fails its neighbours. Two items on one key apply in
  order. An empty batch does no I/O.
- Bounded work: no call stalls the store for other clients; promote, sweep, clear and prune work in portions.
- Time is the store's. A moment in the past is due now.
- An instance belongs to one event loop, and its operations may be called concurrently on it. Other instances
  on the store may be in other threads and processes. Cancelling a caller of anything but `wait` must lose
  nothing: what was begun is finished.
- What retention has released is absent to readers, adds and acks, whether it has been pruned or not.
"""

from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from docket_core.backend.capabilities import Capabilities
from docket_core.backend.clock import Clock, Micros
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Enqueued,
    Mark,
    OnConflict,
    Permit,
    PermitRequest,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
    Take,
    Task,
)
from docket_core.backend.records import Event, FunctionCounts, Page, Record, StrikeEvent, Topic, WorkerRecord
from docket_core.backend.states import State

PROTOCOL = 1
"""The version of this protocol. A plugin names the one it was written for, and is refused if they differ."""


class Enqueuer(Protocol):
    """Takes tasks: a backend, or a transaction of the caller's own that tasks join."""

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        """Make tasks ready now; `when` and `delay` of the tasks are not looked at.

        - A key with a live part is EXISTS under KEEP. Under REPLACE a pending one is overwritten and a running
          one becomes a hold: the newer is pending, and no claim grants it before the hold's ack or lease end.
        - The last part does not block: the key is free right after an end, a cancel or a clear.
        - A task whose `run` is the live or last part's own answers as the first time and changes nothing.
        - An item outside its bounds, or refused by a full store, is REFUSED with the error; nothing of it is
          written.
        """
        ...

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        """Make tasks ready at their `when`, or after their `delay`, or now if they have neither.

        The rules are those of `enqueue`.
        """
        ...


class Subscription(Protocol):
    """Live events, from the moment the subscription was entered."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events as they come. States of one run never go back; what lies between may be left out."""
        ...

    async def watch(self, keys: Sequence[str]) -> None:
        """Also tell of these keys. No effect where all keys are told of."""
        ...

    async def unwatch(self, keys: Sequence[str]) -> None:
        """Tell no more of these keys. No effect where all keys are told of."""
        ...


@runtime_checkable
class Backend(Enqueuer, Protocol):
    """A store of tasks that workers share. Use it as an async context manager; it is open inside."""

    @property
    def name(self) -> str:
        """The docket's name: two dockets on one store share nothing."""
        ...

    @property
    def url(self) -> str:
        """Where the store is, without any secret."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock for timers beside this store; the store's own clock decides about tasks."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do, as it was opened; complete once it is open."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        """Take up to `limit` ready tasks of these functions (None: of all) under a lease; never waits.

        - Expired leases first, then parked tasks whose gate has a free permit and tasks whose time has come, one
          function's in the order they became ready; across functions nobody starves.
        - A task of another function stays, and any number of them does not slow the claim.
        - Taking over an expired lease frees its bound permits in the same step and counts a delivery. The first
          recovery of a generation is not delayed; the nth waits 2^(n-2) seconds after the lease's end, at most 60,
          unless the grant was the last that its `max_deliveries` allows.
        - An expired task with `max_deliveries` grants behind it ends FAILED, reason "poison", payload kept.
        - Whatever functions are asked for: expired tasks whose cancel was requested end CANCELLED, and expired holds
          end.
        - Parked tasks: of each gate the oldest place first (the acks of one call park in its order), as many as it has
          free permits; the permit is taken in the
          same step and lives with the lease until the task's own `acquire`.
        - `limit` 0 answers no claims, but does the rest.
        """
        ...

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        """Sleep until there may be something to claim.

        A backend may call `take` meanwhile, once, on this event loop, with what it hands over to the worker of the
        claim that made `since`, if that had room for more: what another claim on the same terms would bring, of one
        task or a few. It is the caller's from then on, and the wait ends. What comes after a wait has ended or was
        cancelled goes back, or comes with the worker's next claim; never both.

        Ends when something for these functions was pushed after `since` was made, at `until` (store time), or after
        two seconds, whichever is first. Pushed is what became pending, or will be due, a parked task's permit that was
        freed, and what a hold held up; where some of it is not pushed, the two seconds count from `since`. A hint: it
        may end early. It may be cancelled at any time.
        """
        ...

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        """Make leases and their bound permits end `lease` from now. A lapsed lease is LOST; a hold is renewed."""
        ...

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        """End claims: one transition each, with result, permits, events and successor in the same step.

        - Answers in this order: nothing of the key kept, GONE; the token is the last one acked, ACKED; the claim's
          generation is older than the record's, SUPERSEDED (and if it is the hold's, the hold ends, and nothing else is
          written); another token holds the key, LOST.
        - A lapsed lease that nobody took over is still acked.
        - With a requested cancel, complete, fail and cancel give their own state and drop the successor; retry,
          postpone, park and release end CANCELLED.
        - retry, postpone, park, successor: generation + 1, delivery 0. release: the generation stays, this delivery
          is not counted, and it keeps its place.
        - Bound permits are freed by every verdict.
        - With retention 0 a terminal state is forgotten at once.
        """
        ...

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        """End pending tasks as CANCELLED, and ask running ones to stop.

        With a hold: a pending newer one is cancelled and the hold asked to stop, answered CANCELLED; a hold alone is
        asked, answered REQUESTED.
        """
        ...

    async def clear(self) -> int:
        """End as CANCELLED all that was pending when it began, parked included; answers how many.

        Works in portions; ends none that is running, and none added after it began.
        """
        ...

    async def prune(self, limit: int) -> int:
        """Remove up to `limit` things that nobody needs any more; answers how many were removed.

        Last parts whose retention is over, expired permits and workers, lapsed holds; expired tasks whose cancel was
        requested are ended. Fewer than `limit` means that nothing is left to remove.
        """
        ...

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        """Take expiring permits for running tasks; the requests of one claim are granted together or not at all.

        - HELD if the holder has an unexpired permit; GRANTED, and the ttl starts, if the claim had taken it for a
          parked task; else GRANTED if the gate has more free permits than tasks parked in front (of those with an
          earlier place); LAPSED instead if the holder's own had expired; else DENIED.
        - The groups of one call are served in its order. The newest request's limit is the gate's.
        - A bound permit, and one that a claim took for a parked task, is not extended by a denial: it lives with the
          lease. Who takes the task over has the latter no more.
        - An expired permit counts for nothing; it is remembered as LAPSED while its run is live.
        - A denied group holds nothing: the permit that the claim had taken for a parked task is free again at once, so
          that two tasks woken at two gates never deny each other for ever.
        - A granted group gives up the places in gates that its task had: its body runs now. Until then a release parks
          it again where it was.
        """
        ...

    async def release(self, requests: Sequence[PermitRequest]) -> Sequence[Released]:
        """Give permits back before they expire. A hold's claim is not current: it gives none back."""
        ...

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        """Add to the progress of running tasks. Fenced by the token; a lapsed lease nobody took over still may."""
        ...

    async def get(self, keys: Sequence[str]) -> Sequence[Record | None]:
        """What is kept of these keys; None where nothing is."""
        ...

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        """Up to `limit` records with a part in one of these states, whole, in a stable order.

        What is there from the first page to the last is told once. A hold counts as RUNNING.
        """
        ...

    async def counts(self) -> Sequence[FunctionCounts]:
        """How many live tasks there are, for each function that has any."""
        ...

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        """Say that a worker lives, and what it can run; forgotten after `ttl` unless it is said again."""
        ...

    async def retire(self, worker: str) -> None:
        """Say that a worker has ended. Its claims are not touched."""
        ...

    async def workers(self, function: str | None = None) -> Sequence[WorkerRecord]:
        """The workers that live; with `function`, those that can run it."""
        ...

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        """Record an instruction durably; the newest of a rule counts, None removes the rule.

        Answers its place, which is greater than that of every earlier instruction of this docket.
        """
        ...

    def strikes(self) -> AbstractAsyncContextManager[AsyncIterator[StrikeEvent]]:
        """The rules in force, oldest first, then `StrikesCaughtUp` once, then every change in order.

        After a lost connection `StrikesReset`, and the history again. Never raises for a store that is away: it
        comes back by itself.
        """
        ...

    def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AbstractAsyncContextManager[Subscription]:
        """Live events of these topics and keys (None: of all keys), live once it is entered.

        A hint like `wait`: an event may be lost with a connection, so who must know asks `get` as well. It comes back
        by itself after a lost connection.
        """
        ...

    def join(self, connection: object) -> AbstractAsyncContextManager[Enqueuer]:
        """Put tasks into the caller's own open transaction, on a connection to this very store.

        A rollback leaves no trace and wakes nobody. Raises `CapabilityMissing` unless `capabilities.transactional`, and
        `ConfigurationError` for a connection that cannot carry it.
        """
        ...
