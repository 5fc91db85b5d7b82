"""The transitions of one docket. A `Step` lives as long as its transaction."""

import json

from docket_core.backend.kit import due, recovery_delay, refusal_of_ack, refusal_of_task
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Ended,
    Enqueued,
    EnqueueStatus,
    OnConflict,
    ProgressReply,
    ProgressUpdate,
    Renewal,
    Task,
    Verdict,
)
from docket_core.backend.records import CancelRequested, Progress, ProgressMade, StateChanged, StrikeRule
from docket_core.backend.states import State
from docket_lmdb.database import Tx, digest, number
from docket_lmdb.documents import Done, Entry, Part, Want
from docket_lmdb.gates import Gates
from docket_lmdb.log import Told, tell

PORTION = 1000


class Step:
    """What one transaction does; every operation on a key loads its entry, changes it and saves it."""

    def __init__(self, tx: Tx, now: int, retention: int, max_payload: int) -> None:
        self.tx = tx
        self.now = now
        self.retention = retention
        self.max_payload = max_payload
        self.gates = Gates(tx, now, self.push)

    def entry(self, key: str) -> Entry:
        return Entry(self.tx, digest(key), self.now, key)

    def live(self, key_id: bytes) -> tuple[Entry, Part]:
        """Where an index leads."""
        entry = Entry(self.tx, key_id, self.now)
        if entry.live is None:
            raise AssertionError(f"an index leads to {entry.key!r}, which has no live part")
        return entry, entry.live

    def push(self, function: bytes) -> None:
        """There is news for who waits for this function (its digest)."""
        self.tx.put(b"u" + function, number(self.tx.next(b"pushes")))

    def tell(self, event: Told) -> None:
        tell(self.tx, event)

    # --- adding -----------------------------------------------------------------------------------

    def add(self, task: Task, on_conflict: OnConflict, *, at_once: bool) -> Enqueued:
        error = refusal_of_task(task, self.max_payload)
        if error is not None:
            return Enqueued(EnqueueStatus.REFUSED, task.run, error=error)
        entry = self.entry(task.key)
        last = (entry.last.part, entry.last.state) if entry.last is not None else (None, State.COMPLETED)
        for part, state in ((entry.live, None), (entry.hold, State.RUNNING), last):
            if part is not None and part.run == task.run:  # a repeated add
                return _enqueued(EnqueueStatus.ACCEPTED, part, state or part.state(self.now))
        if entry.live is not None and on_conflict is OnConflict.KEEP:
            return _enqueued(EnqueueStatus.EXISTS, entry.live, entry.live.state(self.now))
        old, entry.live = entry.live, None
        if old is not None and old.running and old.lease_until > self.now:
            self.gates.replaced_while_running(old)
            entry.hold = old
        elif old is not None:
            self.gates.run_ended(old)
        part = self.bear(entry, task, self.now if at_once else due(task, self.now))
        entry.save()
        return _enqueued(EnqueueStatus.ACCEPTED, part, part.state(self.now))

    def bear(self, entry: Entry, task: Task, when: int) -> Part:
        """Make `task` the entry's live part."""
        entry.generation += 1
        serial = self.tx.next(b"sequence")
        ready = max(self.now, when)
        part = Part(serial, task.function, task.run, entry.generation, task.attempt, when, ready, serial, serial)
        self.tx.put(b"b" + number(serial) + b"p", len(task.headers).to_bytes(4, "big") + task.headers + task.payload)
        entry.live = part
        self._tell_pending(entry, part)
        return part

    def _tell_pending(self, entry: Entry, part: Part) -> None:
        self.push(digest(part.function))
        self.tell(StateChanged(entry.key, part.run, part.generation, part.state(self.now), part.when))

    # --- running ----------------------------------------------------------------------------------

    def grant(self, entry: Entry, part: Part, worker: str, lease: int, max_deliveries: int | None) -> Claim:
        part.token = self.tx.next(b"token", self.now)
        part.worker, part.started_at, part.lease_until = worker, self.now, self.now + lease
        part.delivery += 1
        part.recovery = recovery_delay(part.delivery, max_deliveries)
        part.progress = None
        if part.parked_at is not None:
            self.gates.reserve(part)
        entry.save()
        self.tell(StateChanged(entry.key, part.run, part.generation, State.RUNNING, part.when, worker, part.started_at))
        return entry.claim(part)

    def renew(self, claim: Claim, lease: int) -> Renewal:
        entry = self.entry(claim.key)
        part = _holder(entry, claim)
        if part is None or part.lease_until <= self.now:
            return Renewal.LOST
        part.lease_until = self.now + lease
        self.gates.renewed(part)
        entry.save()
        return Renewal.CANCEL if part.cancel_requested else Renewal.RENEWED

    def current(self, claim: Claim) -> tuple[Entry, Part] | None:
        """The live part that this claim holds under a lease that has not run out."""
        entry = self.entry(claim.key)
        part = _holder(entry, claim)
        if part is None or part is entry.hold or part.lease_until <= self.now:
            return None
        return entry, part

    def progress(self, update: ProgressUpdate) -> ProgressReply:
        entry = self.entry(update.claim.key)
        part = entry.live
        if not entry.kept:
            return ProgressReply.GONE
        if update.claim.generation < entry.generation:
            return ProgressReply.SUPERSEDED
        if part is None or part.token != update.claim.token:
            return ProgressReply.LOST
        old = part.progress or Progress()
        message = old.message if update.message is None else update.message
        part.progress = Progress(
            old.current + update.increment,
            old.total if update.total is None else update.total,
            None if update.clear_message else message,
            self.now,
        )
        entry.save()
        self.tell(ProgressMade(entry.key, part.run, part.generation, part.progress))
        return ProgressReply.RECORDED

    # --- ending -----------------------------------------------------------------------------------

    def ack(self, ack: Ack) -> Acked:
        if refusal_of_ack(ack, self.max_payload) is not None:
            return Acked.REFUSED
        entry, token = self.entry(ack.claim.key), ack.claim.token
        part = entry.live
        if not entry.kept:
            return Acked.GONE
        if entry.acked == token:
            return Acked.ACKED
        if entry.hold is not None and entry.hold.token == token:
            self.end_hold(entry)
            return Acked.SUPERSEDED
        if ack.claim.generation < entry.generation:
            return Acked.SUPERSEDED
        if part is None or part.token != token:
            return Acked.LOST
        entry.acked = token
        self._apply(entry, part, ack)
        entry.save()
        return Acked.ACKED

    def _apply(self, entry: Entry, part: Part, ack: Ack) -> None:
        state = _TERMINAL.get(ack.verdict)
        if state is not None:
            self.end(entry, part, state, ack.result, ack.error, ack.reason)
            if ack.successor is not None and not part.cancel_requested:
                self.bear(entry, ack.successor, due(ack.successor, self.now))
            return
        if part.cancel_requested:
            self.end(entry, part, State.CANCELLED, reason="cancelled")
            return
        self.gates.lease_ended(part)
        part.drop_claim()
        part.pending_since = self.tx.next(b"sequence")
        if ack.verdict is Verdict.RELEASE:
            part.delivery -= 1
            if part.want is not None:
                self.gates.park(part, part.want, part.pending_since)
        else:
            entry.generation += 1
            part.generation, part.delivery, part.sequence = entry.generation, 0, part.pending_since
            if ack.verdict is Verdict.PARK and ack.request is not None:
                part.ready_at = max(self.now, part.when)
                self.gates.park(part, _want(ack), part.sequence)
            else:
                part.when = ack.when if ack.when is not None else self.now + (ack.delay or 0)
                part.ready_at = max(self.now, part.when)
                part.attempt, part.places, part.want = ack.attempt, {}, None
        self._tell_pending(entry, part)

    def end(
        self,
        entry: Entry,
        part: Part,
        state: State,
        result: bytes | None = None,
        error: str | None = None,
        reason: str | None = None,
    ) -> Ended:
        """Make the live part the last one; the entry is saved by who calls."""
        self.gates.run_ended(part)
        entry.live = None
        if self.retention > 0:
            entry.last = Done(part, state, self.now, self.now + self.retention, error, reason)
            if result is not None:
                self.tx.put(b"b" + number(part.serial) + b"r", result)
        worker, started = (part.worker, part.started_at) if part.running else (None, None)
        self.tell(
            StateChanged(entry.key, part.run, part.generation, state, part.when, worker, started, self.now, error)
        )
        return Ended(entry.key, part.function, part.run, state, reason)

    def end_hold(self, entry: Entry) -> None:
        """The replaced run is over: the newer one may be claimed."""
        if entry.hold is not None:
            self.gates.run_ended(entry.hold)
            entry.hold = None
            if entry.live is not None:
                self.push(digest(entry.live.function))
            entry.save()

    def end_lapsed(self, limit: int) -> list[Ended]:
        """End holds, and running tasks with a requested cancel, whose lease has run out."""
        ended: list[Ended] = []
        while len(ended) < limit and (first := self.tx.first(b"x")) is not None and first[0][1:9] <= number(self.now):
            entry = Entry(self.tx, first[1], self.now)
            if entry.hold is not None and entry.hold.lease_until <= self.now:
                hold = entry.hold
                ended.append(Ended(entry.key, hold.function, hold.run, State.CANCELLED, "superseded"))
                self.end_hold(entry)
            elif entry.live is not None:
                ended.append(self.end(entry, entry.live, State.CANCELLED, reason="cancelled"))
                entry.save()
        return ended

    def cancel(self, key: str) -> CancelReply:
        entry = self.entry(key)
        reply = CancelReply.GONE
        for part in (entry.hold, entry.live):
            if part is not None and part.running and (part is entry.live or part.lease_until > self.now):
                part.cancel_requested = True
                self.tell(CancelRequested(key, part.generation, part.token))
                reply = CancelReply.REQUESTED
        if entry.live is not None and not entry.live.running:
            self.end(entry, entry.live, State.CANCELLED, reason="cancelled")
            reply = CancelReply.CANCELLED
        if reply is not CancelReply.GONE:
            entry.save()
        return reply

    def strike(self, rule_id: str, instruction: bytes | None) -> int:
        name, place = digest(rule_id), self.tx.next(b"strikes")
        before = self.tx.get(b"t" + name)
        if before is not None:
            self.tx.delete(b"t" + name)
            self.tx.delete(b"s" + before)
        if instruction is not None:
            self.tx.put(b"t" + name, number(place))
            self.tx.put(b"s" + number(place), json.dumps([rule_id, instruction.hex(), place]).encode())
        self.tell(StrikeRule(rule_id, instruction, place))
        return place


def _enqueued(status: EnqueueStatus, part: Part, state: State) -> Enqueued:
    return Enqueued(status, part.run, part.generation, part.when, state)


def _holder(entry: Entry, claim: Claim) -> Part | None:
    """The part that this claim holds, if it still does."""
    return next((part for part in (entry.live, entry.hold) if part is not None and part.token == claim.token), None)


def _want(ack: Ack) -> Want:
    request = ack.request
    if request is None:
        raise AssertionError("an ack that parks says for what")
    return Want(*request.gate, request.holder, request.ttl, request.bound, request.extend_on_conflict)


_TERMINAL = {
    Verdict.COMPLETE: State.COMPLETED,
    Verdict.FAIL: State.FAILED,
    Verdict.CANCEL: State.CANCELLED,
}
