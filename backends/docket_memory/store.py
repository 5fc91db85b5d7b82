"""The shared state of one memory docket and its transitions. Every method is called under `lock`."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from docket_core.backend.clock import Clock, Micros
from docket_core.backend.kit import due, recovery_delay, refusal_of_ack, refusal_of_task
from docket_core.backend.model import (
    END_OF,
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Ended,
    Enqueued,
    EnqueueStatus,
    OnConflict,
    Renewal,
    Task,
    Verdict,
    make,
)
from docket_core.backend.records import CancelRequested, StateChanged, WorkerRecord
from docket_core.backend.states import State
from docket_core.errors import Overloaded
from docket_memory.audience import Audience
from docket_memory.events import Mark, Waiter
from docket_memory.index import Index, Indexes
from docket_memory.parts import Entry, Part

PORTION = 1000
"""How many ends a single claim, and how many keys a single step of clear, deals with."""


class Store(Audience):
    """One docket in memory. Backends that were opened for the same URL and name share it."""

    def __init__(self, clock: Clock, retention: Micros, max_payload: int, max_tasks: int | None) -> None:
        super().__init__()
        self.clock = clock
        self.retention = retention
        self.max_payload = max_payload
        self.max_tasks = max_tasks
        self.users = 0
        self.entries: dict[str, Entry] = {}
        self.live = 0
        """How many entries have a live part."""
        self.ready = Indexes()
        """Pending keys by function, ready time and sequence: parked and held-up ones are not in it."""
        self.leases = Indexes()
        """Running keys by function and the moment from which another claim may take them over."""
        self.endings = Index()
        """Keys with a hold or a requested cancel, by the lease's end that ends them."""
        self.expiring = Index()
        """Keys with a last part, by the end of its retention."""
        self.presence: dict[str, tuple[Micros, WorkerRecord]] = {}
        self._token = 0
        self._sequence = 0

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    # --- adding -----------------------------------------------------------------------------------

    def add(self, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> list[Enqueued]:
        now = self.clock.now()
        if at_once and len(tasks) == 1:
            return [self._add_one(tasks[0], now, on_conflict, now)]
        return [self._add_one(task, now if at_once else due(task, now), on_conflict, now) for task in tasks]

    def _add_one(self, task: Task, when: Micros, on_conflict: OnConflict, now: Micros) -> Enqueued:
        error = refusal_of_task(task, self.max_payload)
        entry = self.entries.get(task.key)
        if entry is not None:
            entry = self.entry(task.key, now)
        if error is None and entry is not None:
            repeated = self._repeated(entry, task, now)
            if repeated is not None:
                return repeated
            if entry.live is not None and on_conflict is _KEEP:
                live = entry.live
                return Enqueued(EnqueueStatus.EXISTS, live.run, live.generation, live.when, live.state(now))
        grows = entry is None or entry.live is None
        if error is None and grows and self.max_tasks is not None and self.live >= self.max_tasks:
            error = Overloaded(f"the memory store holds its limit of {self.max_tasks:,} live tasks (max_tasks)")
        if error is not None:
            return Enqueued(EnqueueStatus.REFUSED, task.run, error=error)
        if entry is None:
            entry = self.entries[task.key] = Entry()
        elif entry.live is not None:
            self._displace(entry, now)
        part = self._bear(entry, task, when, now)
        return make(Enqueued, (_ACCEPTED, part.run, part.generation, when, part.state(now), None))

    def _repeated(self, entry: Entry, task: Task, now: Micros) -> Enqueued | None:
        """The first answer once more, if this very run was added before."""
        if entry.live is not None and entry.live.run == task.run:
            live = entry.live
            return Enqueued(EnqueueStatus.ACCEPTED, live.run, live.generation, live.when, live.state(now))
        if entry.hold is not None and entry.hold.run == task.run:
            hold = entry.hold
            return Enqueued(EnqueueStatus.ACCEPTED, hold.run, hold.generation, hold.when, State.RUNNING)
        if entry.last is not None and entry.last.run == task.run:
            last = entry.last
            return Enqueued(EnqueueStatus.ACCEPTED, last.run, last.generation, last.when, last.state)
        return None

    def _displace(self, entry: Entry, now: Micros) -> None:
        """Make room for a newer live part: what is pending goes, what runs under a lease becomes a hold."""
        old = entry.live
        if old is None:
            return
        self._unindex(old)
        if old.running and old.lease_until > now:
            entry.hold = old
            self.gates.replaced_while_running(old)
            self.endings.add(old.key, old.lease_until)
        else:
            self.gates.run_ended(old, now)
        entry.live = None
        self.live -= 1

    def _bear(self, entry: Entry, task: Task, when: Micros, now: Micros) -> Part:
        """Make `task` the entry's live part."""
        entry.generation += 1
        self._sequence += 1
        part = Part(task, entry.generation, when, now, self._sequence)
        entry.live = part
        self.live += 1
        asker = None
        if self.waiters and not self.watched and entry.hold is None and part.ready_at <= now:
            asker = self._asker(part.function, now)
        if asker is not None:
            self._hand_over(part, asker, now)
        else:
            self._index(entry, part)
            self._tell_pending(part, now)
        return part

    def _asker(self, function: str, now: Micros) -> Waiter | None:
        """Who is to be handed the next task of `function`; nobody, where one is ready that has waited longer."""
        index = self.ready.of(function)
        first = None if index is None else index.first()
        if first is not None and first[0] <= now:
            return None
        for waiter in self.waiters:
            if waiter.takes(function):
                return waiter
        return None

    def _hand_over(self, part: Part, waiter: Waiter, now: Micros) -> None:
        """Claim a task for somebody who waits for the next one."""
        mark, take = waiter.mark, waiter.take
        claim = self._grant(part, mark.worker, mark.lease, mark.max_deliveries, now)

        def deliver() -> None:
            with self.lock:
                if take is not None and waiter in self.waiters:
                    take((claim,), self.clock.now())
                else:  # it waits no more
                    self.ack(Ack.release(claim), self.clock.now())
            waiter.event.set()  # after that: what begins has its turn before the worker waits again

        waiter.take = None
        waiter.hand_over(deliver)

    # --- claiming ---------------------------------------------------------------------------------

    def claim(
        self, worker: str, functions: AbstractSet[str] | None, limit: int, lease: Micros, max_deliveries: int | None
    ) -> Claimed:
        now = self.clock.now()
        ended = self.end_lapsed(PORTION, now)
        claims: list[Claim] = []
        for key in self.leases.due(functions, now):
            part = self._live(key)
            if max_deliveries is not None and part.delivery >= max_deliveries:
                if len(ended) < PORTION:
                    ended.append(
                        self._end(part, State.FAILED, now, reason="poison", error=_POISON.format(part.delivery))
                    )
                    continue
                break
            if part.cancel_requested:
                ended.append(self._end(part, State.CANCELLED, now, reason="cancelled"))
                continue
            if len(claims) >= limit:
                break
            self.leases.discard(part.function, key)
            self.gates.lease_ended(part)
            claims.append(self._grant(part, worker, lease, max_deliveries, now))
        while len(claims) < limit and (parked := self.gates.wakeable(functions, now)) is not None:
            part = self._live(parked)
            claim = self._grant(part, worker, lease, max_deliveries, now)
            self.gates.reserve(part)
            claims.append(claim)
        if len(claims) < limit:
            for key in self.ready.due(functions, now):
                part = self._live(key)
                self.ready.discard(part.function, key)
                claims.append(self._grant(part, worker, lease, max_deliveries, now))
                if len(claims) >= limit:
                    break
        mark = Mark(self.pushes, worker, lease, max_deliveries, has_room=len(claims) < limit)
        return Claimed(claims, now, self._next_at(functions), mark, ended)

    def _grant(self, part: Part, worker: str, lease: Micros, max_deliveries: int | None, now: Micros) -> Claim:
        self._token = max(self._token + 1, now)
        part.token = self._token
        part.worker = worker
        part.started_at = now
        part.lease_until = now + lease
        part.delivery += 1
        part.recovery = recovery_delay(part.delivery, max_deliveries)
        part.progress = None
        self._index_lease(part)
        if self.watched:
            self.tell(StateChanged(part.key, part.run, part.generation, _RUNNING, part.when, worker, now))
        return part.claim()

    def _next_at(self, functions: AbstractSet[str] | None) -> Micros | None:
        next_at = self.ready.earliest(functions)
        ending = self.endings.first()
        others = (self.leases.earliest(functions), self.gates.next_wake(functions), ending and ending[0])
        for moment in others:
            if moment is not None and (next_at is None or moment < next_at):
                next_at = moment
        return next_at

    def end_lapsed(self, limit: int, now: Micros) -> list[Ended]:
        """End holds, and running tasks with a requested cancel, whose lease has run out."""
        ended: list[Ended] = []
        while len(ended) < limit and (first := self.endings.first()) is not None and first[0] <= now:
            entry = self.entries[first[2]]
            if entry.hold is not None:
                hold = entry.hold
                self.end_hold(entry, hold, now)
                ended.append(Ended(hold.key, hold.function, hold.run, State.CANCELLED, "superseded"))
            elif entry.live is not None:
                ended.append(self._end(entry.live, State.CANCELLED, now, reason="cancelled"))
        return ended

    # --- ending -----------------------------------------------------------------------------------

    def ack(self, ack: Ack, now: Micros) -> Acked:
        if refusal_of_ack(ack, self.max_payload) is not None:
            return Acked.REFUSED
        claim = ack.claim
        entry = self.entry(claim.key, now)
        if entry is None:
            return Acked.GONE
        if entry.acked == claim.token:
            return Acked.ACKED
        if entry.hold is not None and entry.hold.token == claim.token:
            self.end_hold(entry, entry.hold, now)
            return Acked.SUPERSEDED
        if claim.generation < entry.generation:
            return Acked.SUPERSEDED
        part = entry.live
        if part is None or part.token != claim.token:
            return Acked.LOST
        entry.acked = claim.token
        self._apply(entry, part, ack, now)
        return _ACKED

    def _apply(self, entry: Entry, part: Part, ack: Ack, now: Micros) -> None:
        state = END_OF.get(ack.verdict)
        if state is not None:
            successor = None if part.cancel_requested else ack.successor
            self._end(part, state, now, ack.result, ack.error, ack.reason, forget=successor is None)
            if successor is not None:
                self._bear(entry, successor, due(successor, now), now)
        elif part.cancel_requested:
            self._end(part, State.CANCELLED, now, reason="cancelled")
        else:
            self._unindex(part)
            self.gates.lease_ended(part)
            if ack.verdict is Verdict.RELEASE:
                self._give_back(part)
            elif ack.verdict is Verdict.PARK and ack.request is not None:
                self._go_on(entry, part, part.when, now)
                self.gates.park(part, ack.request, part.sequence, now)
            else:
                when = ack.when if ack.when is not None else now + (ack.delay or 0)
                self._go_on(entry, part, when, now)
                part.attempt = ack.attempt
                part.places = part.request = None
            self._index(entry, part)
            self._tell_pending(part, now)

    def _go_on(self, entry: Entry, part: Part, when: Micros, now: Micros) -> None:
        """The same run, pending again as the key's next generation."""
        entry.generation += 1
        part.renew_pending(entry.generation, when, now, self.next_sequence())

    def _give_back(self, part: Part) -> None:
        part.delivery -= 1
        part.pending_since = self.next_sequence()
        part.drop_claim()
        if part.request is not None:
            self.gates.park(part, part.request, part.sequence, self.clock.now())

    def _end(
        self,
        part: Part,
        state: State,
        now: Micros,
        result: bytes | None = None,
        error: str | None = None,
        reason: str | None = None,
        *,
        forget: bool = True,
    ) -> Ended:
        """Make the live part of its key the last one."""
        entry = self.entries[part.key]
        self._unindex(part)
        self.gates.run_ended(part, now)
        entry.live = None
        self.live -= 1
        if self.retention > 0:
            entry.last = part.last(state, now, now + self.retention, result, error, reason)
            self.expiring.add(part.key, entry.last.expires_at)
        elif forget and entry.hold is None:
            self.forget(part.key)
        if self.watched:
            started = part.started_at if part.running else None
            self.tell(
                StateChanged(
                    part.key, part.run, part.generation, state, part.when, part.worker or None, started, now, error
                )
            )
        return Ended(part.key, part.function, part.run, state, reason)

    def end_hold(self, entry: Entry, hold: Part, now: Micros) -> None:
        """The replaced run is over: the newer one may be claimed."""
        entry.hold = None
        self.endings.discard(hold.key)
        self.gates.run_ended(hold, now)
        if entry.live is not None:
            self._index(entry, entry.live)
            self.push(entry.live.function, entry.live.ready_at)
        elif entry.last is None:
            self.forget(hold.key)

    def cancel(self, key: str, now: Micros) -> CancelReply:
        entry = self.entry(key, now)
        if entry is None:
            return CancelReply.GONE
        asked = False
        for part in (entry.hold, entry.live):
            if part is not None and part.running and (part is entry.live or part.lease_until > now):
                self._request_cancel(part)
                asked = True
        if entry.live is not None and not entry.live.running:
            self._end(entry.live, State.CANCELLED, now, reason="cancelled")
            return CancelReply.CANCELLED
        return CancelReply.REQUESTED if asked else CancelReply.GONE

    def _request_cancel(self, part: Part) -> None:
        part.cancel_requested = True
        self.endings.add(part.key, part.lease_until)
        self.tell(CancelRequested(part.key, part.generation, part.token))

    def clear_some(self, keys: Iterator[str], boundary: int, now: Micros) -> tuple[int, bool]:
        """Cancel what is pending since before `boundary` among the next keys; how many, and whether that was all."""
        portion = list(islice(keys, PORTION))
        cleared = 0
        for key in portion:
            entry = self.entries.get(key)
            part = entry.live if entry is not None else None
            if part is not None and not part.running and part.pending_since <= boundary:
                self._end(part, State.CANCELLED, now, reason="cleared")
                cleared += 1
        return cleared, len(portion) < PORTION

    # --- leases -----------------------------------------------------------------------------------

    def renew(self, claim: Claim, lease: Micros, now: Micros) -> Renewal:
        part = self.holder(claim)
        if part is None or part.lease_until <= now:
            return Renewal.LOST
        part.lease_until = now + lease
        self.gates.renewed(part)
        entry = self.entries[part.key]
        if part is entry.live:
            self._index_lease(part)
        if part is entry.hold or part.cancel_requested:
            self.endings.add(part.key, part.lease_until)
        return Renewal.CANCEL if part.cancel_requested else Renewal.RENEWED

    def holder(self, claim: Claim) -> Part | None:
        """The part that this claim holds, if it still does."""
        entry = self.entries.get(claim.key)
        if entry is not None:
            for part in (entry.live, entry.hold):
                if part is not None and part.token == claim.token:
                    return part
        return None

    def current(self, claim: Claim, now: Micros) -> Part | None:
        """The live part that this claim holds under a lease that has not run out."""
        part = self.holder(claim)
        if part is None or part.lease_until <= now or part is self.entries[part.key].hold:
            return None
        return part

    # --- records ----------------------------------------------------------------------------------

    def entry(self, key: str, now: Micros) -> Entry | None:
        """What is kept of a key; what retention has released is dropped on the way."""
        entry = self.entries.get(key)
        if entry is not None and entry.last is not None and entry.last.expires_at <= now:
            entry.last = None
            self.expiring.discard(key)
            if entry.live is None and entry.hold is None:
                self.forget(key)
                return None
        return entry

    def forget(self, key: str) -> None:
        self.entries.pop(key, None)
        self.expiring.discard(key)

    def prune(self, limit: int) -> int:
        now = self.clock.now()
        removed = len(self.end_lapsed(limit, now))
        while removed < limit and (first := self.expiring.first()) is not None and first[0] <= now:
            self.entry(first[2], now)
            removed += 1
        removed += self.gates.prune(limit - removed, now)
        for name in [name for name, (until, _) in self.presence.items() if until <= now][: limit - removed]:
            del self.presence[name]
            removed += 1
        return removed

    def is_empty(self) -> bool:
        """Whether nothing would be lost if the store went away."""
        return not (self.entries or self.rules or self.presence or len(self.gates))

    # --- indexes and news -------------------------------------------------------------------------

    def _live(self, key: str) -> Part:
        part = self.entries[key].live
        if part is None:
            raise AssertionError(f"an index leads to {key!r}, which has no live part")
        return part

    def _index(self, entry: Entry, part: Part) -> None:
        if part.parked_at is None and entry.hold is None:
            self.ready.add(part.function, part.key, part.ready_at, part.sequence)

    def _index_lease(self, part: Part) -> None:
        self.leases.add(part.function, part.key, part.lease_until + part.recovery)

    def _unindex(self, part: Part) -> None:
        if part.running:
            self.leases.discard(part.function, part.key)
            if part.cancel_requested:
                self.endings.discard(part.key)
        elif part.parked_at is None:
            self.ready.discard(part.function, part.key)

    def _tell_pending(self, part: Part, now: Micros) -> None:
        self.push(part.function, part.ready_at)
        if self.watched:
            self.tell(StateChanged(part.key, part.run, part.generation, part.state(now), part.when))


_ACCEPTED, _KEEP = EnqueueStatus.ACCEPTED, OnConflict.KEEP
_RUNNING, _ACKED = State.RUNNING, Acked.ACKED
"""Looked up once, for every task: a member of an enum costs as much as a call."""
_POISON = "granted {} times without an end: its worker died or lost it each time"
