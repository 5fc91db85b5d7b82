"""A pure model of what a docket is: small, slow, and written from the contract alone.

Each method is given what the backend answered; it asserts that the contract allows the answer, and applies it. Where
the contract leaves something open (ties, order across functions, a generation that starts again), the model follows
the backend.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import Micros
from docket_core.backend.model import (
    END_OF,
    Ack,
    Acked,
    CancelReply,
    Claim,
    Enqueued,
    EnqueueStatus,
    OnConflict,
    Permit,
    PermitRequest,
    PermitStatus,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
    Task,
    Verdict,
)
from docket_core.backend.records import FunctionCounts, Progress, Record
from docket_core.backend.states import State
from docket_core.conformance.pure_gates import PureGates
from docket_core.conformance.pure_parts import ANY_REASON, Key, Run, assert_seen, last_of


class Pure:
    """One docket."""

    def __init__(self, now: Callable[[], Micros], retention: Micros) -> None:
        self.clock = now
        self.retention = retention
        self.keys: dict[str, Key] = {}
        self.gates = PureGates(self.runs)
        self.token = 0

    def runs(self) -> list[Run]:
        """Every live part."""
        return [key.live for key in self.keys.values() if key.live is not None]

    def settled(self) -> Micros:
        """Now, with everything ended that ends by itself."""
        now = self.clock()
        for key in self.keys.values():
            if key.hold is not None and key.hold.lapsed(now):
                self._end_hold(key, now)
                key.unswept = True
        return now

    # --- adding -----------------------------------------------------------------------------------

    def added(self, task: Task, on_conflict: OnConflict, at_once: bool, answer: Enqueued) -> None:
        now = self.settled()
        key = self.keys.setdefault(task.key, Key())
        last = key.last_kept(now)
        known = [part.task.run for part in (key.live, key.hold) if part is not None]
        if task.run in known or (last is not None and task.run == last.run):
            assert (answer.status, answer.run) == (EnqueueStatus.ACCEPTED, task.run)
            return
        if key.live is not None and on_conflict is OnConflict.KEEP:
            live = key.live
            assert answer == Enqueued(EnqueueStatus.EXISTS, live.task.run, live.generation, live.when, live.state(now))
            return
        generation = key.generation + 1
        if not key.kept(now):
            assert answer.generation in (1, generation)
            generation = answer.generation
            key.forgotten_ack, key.acked = key.acked or key.forgotten_ack, 0
        if key.live is not None:
            self._displace(key, key.live, now)
        when = now if at_once or (task.when is None and task.delay is None) else task.when
        run = self._bear(key, task, generation, when if when is not None else now + (task.delay or 0), now)
        assert answer == Enqueued(EnqueueStatus.ACCEPTED, task.run, generation, run.when, run.state(now))

    def _displace(self, key: Key, old: Run, now: Micros) -> None:
        if old.running and not old.lapsed(now):
            key.hold = old
            self.gates.replaced_while_running(old)
        else:
            self.gates.run_ended(old, now)

    def _bear(self, key: Key, task: Task, generation: int, when: Micros, now: Micros) -> Run:
        key.generation = generation
        key.live = Run(task, generation, when, (max(now, when), max(now, when)), task.attempt)
        return key.live

    # --- ending -----------------------------------------------------------------------------------

    def acked(self, ack: Ack, answer: Acked, parks_again: bool) -> None:
        """`parks_again`: whether the task is parked now, which a release of a woken one leaves open."""
        now = self.settled()
        claim, key = ack.claim, self.keys[ack.claim.key]
        live = key.live
        if not key.kept(now):
            allowed = {Acked.GONE, Acked.SUPERSEDED} if key.unswept else {Acked.GONE}
        elif key.acked == claim.token:
            released = key.acked_end and key.last_kept(now) is None
            allowed = {Acked.ACKED, Acked.SUPERSEDED} if released else {Acked.ACKED}
        elif key.hold is not None and key.hold.token == claim.token:
            allowed = {Acked.SUPERSEDED}
            self._end_hold(key, now)
        elif claim.generation < key.generation:
            allowed = {Acked.SUPERSEDED}
        elif live is None or live.token != claim.token:
            allowed = {Acked.LOST}
        else:
            allowed = {Acked.ACKED}
            key.acked, key.acked_end = claim.token, ack.verdict in END_OF or live.cancel_requested
            self._apply(key, live, ack, now, parks_again)
            assert answer in allowed
            return
        if claim.token == key.forgotten_ack:
            allowed.add(Acked.ACKED)
        assert answer in allowed, f"{answer!r} was told, {allowed} is true"

    def _apply(self, key: Key, run: Run, ack: Ack, now: Micros, parks_again: bool) -> None:
        state = END_OF.get(ack.verdict)
        if state is not None:
            dropped = run.cancel_requested
            self._end(key, run, state, now, ack.result, ack.error, ack.reason)
            if ack.successor is not None and not dropped:
                delay = ack.successor.delay or 0
                when = ack.successor.when if ack.successor.when is not None else now + delay
                self._bear(key, ack.successor, key.generation + 1, when, now)
            return
        if run.cancel_requested:
            self._end(key, run, State.CANCELLED, now, reason=ANY_REASON)
            return
        self.gates.lease_ended(run)
        if ack.verdict is Verdict.RELEASE:
            run.delivery -= 1
            run.token, run.progress = 0, None
            run.parked = run.woken if parks_again else None
            run.woken = None
            return
        key.generation += 1
        if ack.verdict is Verdict.PARK:
            run.pending_again(now, key.generation, run.when)
            run.parked = ack.request
            assert ack.request is not None
            self.gates.limits[ack.request.gate.name] = ack.request.gate.limit
            run.places.setdefault(ack.request.gate.name, now)
            return
        run.pending_again(now, key.generation, ack.when if ack.when is not None else now + (ack.delay or 0))
        run.attempt = ack.attempt
        run.places.clear()

    def _end(
        self,
        key: Key,
        run: Run,
        state: State,
        now: Micros,
        result: bytes | None = None,
        error: str | None = None,
        reason: str | None = None,
    ) -> None:
        self.gates.run_ended(run, now)
        key.live = None
        key.last_ran = run.running
        key.last = last_of(run, state, now, now + self.retention)._replace(result=result, error=error, reason=reason)

    def _end_hold(self, key: Key, now: Micros) -> None:
        if key.hold is not None:
            self.gates.run_ended(key.hold, now)
            if key.live is not None:
                early, late = key.live.ready
                key.live.ready = (early, max(late, now))
        key.hold = None

    def cancelled(self, name: str, answer: CancelReply) -> None:
        now = self.settled()
        key = self.keys.get(name, Key())
        for run in (key.hold, key.live):
            if run is not None and run.running:
                run.cancel_requested = True
        if key.live is not None and not key.live.running:
            self._end(key, key.live, State.CANCELLED, now, reason=ANY_REASON)
            assert answer is CancelReply.CANCELLED
        else:
            assert answer is (CancelReply.REQUESTED if key.live or key.hold else CancelReply.GONE)

    def cleared(self, answer: int) -> None:
        now = self.settled()
        pending = [key for key in self.keys.values() if key.live is not None and not key.live.running]
        for key in pending:
            if key.live is not None:
                self._end(key, key.live, State.CANCELLED, now, reason=ANY_REASON)
        assert answer == len(pending)

    def swept(self) -> Micros:
        """What any claim and any prune do."""
        now = self.settled()
        for key in self.keys.values():
            key.unswept = False
            if key.live is not None and key.live.lapsed(now) and key.live.cancel_requested:
                self._end(key, key.live, State.CANCELLED, now, reason=ANY_REASON)
        return now

    def poisoned(self, name: str) -> None:
        key = self.keys[name]
        assert key.live is not None
        self._end(key, key.live, State.FAILED, self.clock(), reason="poison")

    # --- running ----------------------------------------------------------------------------------

    def holder(self, claim: Claim, now: Micros) -> Run | None:
        """The run that this claim holds under a lease that has not run out."""
        key = self.keys[claim.key]
        for run in (key.live, key.hold):
            if run is not None and run.token == claim.token and not run.lapsed(now):
                return run
        return None

    def holds(self, claim: Claim) -> bool:
        """Whether this claim holds its key still, lapsed or not."""
        key = self.keys[claim.key]
        return claim.token in [run.token for run in (key.live, key.hold) if run is not None]

    def current(self, claim: Claim, now: Micros) -> Run | None:
        run = self.holder(claim, now)
        return run if run is self.keys[claim.key].live else None

    def renewed(self, claim: Claim, lease: Micros, answer: Renewal) -> None:
        now = self.settled()
        run = self.holder(claim, now)
        if run is None:
            assert answer is Renewal.LOST
            return
        run.lease_until = now + lease
        self.gates.renewed(run)
        assert answer is (Renewal.CANCEL if run.cancel_requested else Renewal.RENEWED)

    def progressed(self, update: ProgressUpdate, answer: ProgressReply) -> None:
        now = self.settled()
        key, claim = self.keys[update.claim.key], update.claim
        if not key.kept(now):
            assert answer is ProgressReply.GONE or (key.unswept and answer is ProgressReply.SUPERSEDED)
        elif claim.generation < key.generation:
            assert answer is ProgressReply.SUPERSEDED
        elif key.live is None or key.live.token != claim.token:
            assert answer is ProgressReply.LOST
        else:
            assert answer is ProgressReply.RECORDED
            old = key.live.progress or Progress()
            message = old.message if update.message is None else update.message
            key.live.progress = Progress(
                old.current + update.increment,
                old.total if update.total is None else update.total,
                None if update.clear_message else message,
                now,
            )

    def acquired(self, requests: Sequence[PermitRequest], answers: Sequence[Permit]) -> None:
        now = self.settled()
        run = self.current(requests[0].claim, now)
        assert len(answers) == len(requests)
        if run is None:
            assert {answer.status for answer in answers} == {PermitStatus.LOST}
        else:
            self.gates.acquire(run, requests, answers, now)

    def gave_back(self, request: PermitRequest, answer: Released) -> None:
        now = self.settled()
        if self.current(request.claim, now) is None:
            assert answer is Released.LOST
        else:
            had = self.gates.give_back(request, now)
            assert answer is (Released.RELEASED if had else Released.ABSENT)

    # --- reading ----------------------------------------------------------------------------------

    def seen(self, name: str, record: Record | None) -> None:
        now = self.settled()
        assert_seen(record, name, self.keys.get(name), now)

    def counted(self, answer: Sequence[FunctionCounts]) -> None:
        now = self.settled()
        table: dict[str, FunctionCounts] = {}
        for key in self.keys.values():
            for run in (key.live, key.hold):
                if run is not None:
                    row = table.get(run.task.function, FunctionCounts(run.task.function))
                    column = "parked" if run.parked is not None else run.state(now).value
                    table[row.function] = row._replace(**{column: getattr(row, column) + 1})
        assert {row.function: row for row in answer} == table

    def scanned(self, states: AbstractSet[State], records: Sequence[Record]) -> None:
        now = self.settled()
        expected: set[str] = set()
        for name, key in self.keys.items():
            last = key.last_kept(now)
            found = [part.state(now) for part in (key.live, key.hold) if part is not None]
            found += [last.state] if last is not None else []
            if states & set(found):
                expected.add(name)
        names = [record.key for record in records]
        assert len(names) == len(set(names))
        assert set(names) == expected
        for record in records:
            assert_seen(record, record.key, self.keys.get(record.key), now)
