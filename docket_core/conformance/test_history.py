"""Random histories, driven through a backend and a pure model side by side."""

import os
import time
from itertools import count
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from docket_core.backend.clock import SECOND, ManualClock, Micros
from docket_core.backend.model import Ack, Claim, Gate, OnConflict, PermitRequest, PermitStatus, ProgressUpdate, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.states import LIVE, TERMINAL, State
from docket_core.conformance.side import Side
from docket_core.conformance.subject import OpenBackend

EXAMPLES = "DOCKET_CONFORMANCE_EXAMPLES"
KEYS = ("a", "b", "c", "d")
HALF = SECOND // 2

keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)
functions = st.sampled_from(["f", "g"])
asked = st.sampled_from([None, frozenset({"f"}), frozenset({"g"}), frozenset({"f", "g"}), frozenset({"unknown"})])
moments: st.SearchStrategy[Micros] = st.integers(-2, 10).map(lambda halves: halves * HALF)
delays: st.SearchStrategy[Micros] = st.integers(0, 8).map(lambda halves: halves * HALF)
leases: st.SearchStrategy[Micros] = st.sampled_from([3 * SECOND, 5 * SECOND, 8 * SECOND])
recent = st.integers(0, 7)
"""Which claim, of those that are in play."""
instances = st.integers(0, 1)
gates = st.lists(st.sampled_from(["slots", "rate", "cooldown", "debounce"]), min_size=1, max_size=2, unique=True)
pages = st.sets(st.sampled_from([*sorted(LIVE | TERMINAL)]), max_size=6).map(frozenset[State])


class History(RuleBasedStateMachine):
    """One docket's life. Subclass it with an `opener` to drive a backend through it."""

    opener: OpenBackend

    @initialize(retention=st.sampled_from([0, 6 * SECOND, 900 * SECOND]))
    def begin(self, retention: Micros) -> None:
        self.runs = count(1)
        self.side = self.new_side(f"history-{uuid4().hex}", retention)
        self.limits = {"slots": 1, "rate": 1, "cooldown": 1, "debounce": 1}
        self.denied: dict[int, str] = {}
        """By token: the gate that denied this claim last, and where it may park."""

    def new_side(self, name: str, retention: Micros) -> Side:
        """What the history is done to."""
        return Side(self.opener, name, ManualClock(), retention)

    def teardown(self) -> None:
        if hasattr(self, "side"):
            try:
                self.side.finish()
            finally:
                self.side.close()

    def instance(self, number: int) -> Backend:
        return self.side.instances[number]

    def granted(self, position: int) -> Claim:
        """A claim that holds something, a zombie of a key that another holds now, or one of the newest."""
        granted = self.side.granted
        holding = self.side.holding()
        held = {claim.key for claim in holding}
        zombies = [claim for claim in granted if claim.key in held and claim not in holding]
        choice = holding + zombies[-3:] + granted[-2:]
        return choice[position % len(choice)]

    def any_held(self) -> bool:
        return any(key.hold is not None for key in self.side.pure.keys.values())

    def any_granted(self) -> bool:
        return bool(self.side.granted)

    def task(self, key: str, function: str, when: Micros | None = None, delay: Micros | None = None) -> Task:
        number = next(self.runs)
        return Task(key, function, b"payload %d" % number, f"run-{number}", b"headers", when, delay)

    # --- adding -----------------------------------------------------------------------------------

    @rule(by=instances, names=keys, function=functions, on_conflict=st.sampled_from(OnConflict))
    def enqueue(self, by: int, names: list[str], function: str, on_conflict: OnConflict) -> None:
        tasks = [self.task(key, function) for key in names]
        self.side.add(self.instance(by), tasks, on_conflict, at_once=True)

    @rule(
        by=instances,
        names=keys,
        function=functions,
        on_conflict=st.sampled_from(OnConflict),
        moment=moments,
        relative=st.booleans(),
    )
    def schedule(
        self, by: int, names: list[str], function: str, on_conflict: OnConflict, moment: Micros, relative: bool
    ) -> None:
        when, delay = (None, max(0, moment)) if relative else (self.side.clock.now() + moment, None)
        tasks = [self.task(key, function, when, delay) for key in names]
        self.side.add(self.instance(by), tasks, on_conflict, at_once=False)

    @rule(by=instances, key=st.sampled_from(KEYS), on_conflict=st.sampled_from(OnConflict))
    def repeat_add(self, by: int, key: str, on_conflict: OnConflict) -> None:
        """A lost reply: the same add again."""
        known = self.side.pure.keys.get(key)
        if known is not None and known.live is not None:
            self.side.add(self.instance(by), [known.live.task], on_conflict, at_once=False)

    @precondition(any_held)
    @rule(by=instances, on_conflict=st.sampled_from(OnConflict))
    def repeat_replaced_add(self, by: int, on_conflict: OnConflict) -> None:
        """The same add again, of a run that was replaced since."""
        self.side.pure.settled()
        for key in self.side.pure.keys.values():
            if key.hold is not None:
                self.side.add(self.instance(by), [key.hold.task], on_conflict, at_once=False)

    # --- running ----------------------------------------------------------------------------------

    @rule(
        by=instances,
        wanted=asked,
        limit=st.integers(0, 4),
        lease=leases,
        max_deliveries=st.sampled_from([None, None, 1, 2, 3]),
    )
    def claim(
        self, by: int, wanted: frozenset[str] | None, limit: int, lease: Micros, max_deliveries: int | None
    ) -> None:
        self.side.claim(self.instance(by), wanted, limit, lease, max_deliveries)

    @rule(by=instances)
    def claim_all(self, by: int) -> None:
        self.side.claim(self.instance(by), None, 10, 5 * SECOND, None)

    @precondition(any_granted)
    @rule(by=instances, positions=st.lists(recent, min_size=1, max_size=3), lease=leases)
    def renew(self, by: int, positions: list[int], lease: Micros) -> None:
        self.side.renew(self.instance(by), [self.granted(position) for position in positions], lease)

    @precondition(any_granted)
    @rule(by=instances, position=recent, increment=st.integers(0, 3), total=st.sampled_from([None, 10]))
    def progress(self, by: int, position: int, increment: int, total: int | None) -> None:
        message = None if increment else "message"
        update = ProgressUpdate(self.granted(position), increment, total, message, increment == 1)
        self.side.progress(self.instance(by), update)

    # --- ending -----------------------------------------------------------------------------------

    @precondition(any_granted)
    @rule(by=instances, position=recent, chained=st.booleans(), delay=delays, shape=st.integers(0, 2))
    def end(self, by: int, position: int, chained: bool, delay: Micros, shape: int) -> None:
        claim = self.granted(position)
        successor = self.task(claim.key, "g", delay=delay) if chained else None
        ack = (
            Ack.complete(claim, b"result", successor=successor),
            Ack.fail(claim, "error", None, reason="reason", successor=successor),
            Ack.cancel(claim, "reason", successor=successor),
        )[shape]
        self.side.ack(self.instance(by), ack)

    @precondition(any_granted)
    @rule(by=instances, position=recent, delay=delays, retry=st.booleans())
    def go_on(self, by: int, position: int, delay: Micros, retry: bool) -> None:
        claim = self.granted(position)
        again = Ack.retry(claim, attempt=claim.attempt + 1, delay=delay)
        self.side.ack(self.instance(by), again if retry else Ack.postpone(claim, delay=delay))

    @precondition(any_granted)
    @rule(by=instances, position=recent)
    def give_back(self, by: int, position: int) -> None:
        self.side.ack(self.instance(by), Ack.release(self.granted(position)))

    @precondition(any_granted)
    @rule(by=instances, shapes=st.lists(st.integers(0, 6), min_size=1, max_size=4))
    def end_all(self, by: int, shapes: list[int]) -> None:
        """Everything that is held ends, one way or another; what stays out of the list runs on."""
        for claim, shape in zip(self.side.holding(), shapes, strict=False):
            ack = (
                Ack.complete(claim, b"result"),
                Ack.complete(claim, successor=self.task(claim.key, "f")),
                Ack.fail(claim, "error"),
                Ack.cancel(claim),
                Ack.retry(claim, attempt=claim.attempt + 1),
                Ack.postpone(claim, delay=SECOND),
                Ack.release(claim),
            )[shape]
            self.side.ack(self.instance(by), ack)

    @precondition(any_granted)
    @rule(by=instances, sleep=st.sampled_from([0, 4 * SECOND]), shape=st.integers(0, 2))
    def zombies_come_back(self, by: int, sleep: Micros, shape: int) -> None:
        """Whoever was ever granted something and was not heard of for a while."""
        self.side.advance(sleep)
        instance = self.instance(by)
        for claim in self.side.granted[-4:]:
            self.side.renew(instance, [claim], 5 * SECOND)
            self.side.progress(instance, ProgressUpdate(claim, 1))
            ack = (Ack.complete(claim, b"zombie"), Ack.retry(claim, attempt=9), Ack.release(claim))[shape]
            self.side.ack(instance, ack)

    @rule(by=instances, names=keys)
    def cancel(self, by: int, names: list[str]) -> None:
        self.side.cancel(self.instance(by), names)

    @rule(by=instances)
    def clear(self, by: int) -> None:
        self.side.clear(self.instance(by))

    @rule(by=instances)
    def prune(self, by: int) -> None:
        self.side.prune(self.instance(by))

    # --- gates ------------------------------------------------------------------------------------

    def request(self, claim: Claim, gate: str) -> PermitRequest:
        """The request of the dependency that such a gate belongs to."""
        made = Gate(gate, self.limits[gate])
        run = f"{claim.key}/{claim.run}"
        match gate:
            case "slots":
                return PermitRequest(claim, made, claim.key, 5 * SECOND, bound=True)
            case "rate":
                return PermitRequest(claim, made, f"{run}/{claim.attempt}", 4 * SECOND)
            case "cooldown":
                return PermitRequest(claim, made, run, 10 * SECOND)
            case _:
                return PermitRequest(claim, made, claim.key, 3 * SECOND, extend_on_conflict=True)

    @precondition(any_granted)
    @rule(by=instances, position=recent, names=gates)
    def acquire(self, by: int, position: int, names: list[str]) -> None:
        self.ask(by, self.granted(position), names)

    def ask(self, by: int, claim: Claim, names: list[str]) -> None:
        answers = self.side.acquire(self.instance(by), [self.request(claim, gate) for gate in names])
        if answers[0].status is PermitStatus.DENIED:
            self.denied[claim.token] = answers[0].gate
        else:
            self.denied.pop(claim.token, None)

    @rule(by=instances, names=gates, limit=st.integers(1, 4), lease=leases)
    def work(self, by: int, names: list[str], limit: int, lease: Micros) -> None:
        """What a worker does: claim, ask at the gates, and park where it is denied."""
        before = len(self.side.granted)
        self.side.claim(self.instance(by), None, limit, lease, None)
        for claim in self.side.granted[before:]:
            self.ask(by, claim, names)
            self.park(by, claim)

    @rule(by=instances, names=gates)
    def rush(self, by: int, names: list[str]) -> None:
        """Many tasks before the same gates."""
        self.enqueue(by, list(KEYS), "f", OnConflict.KEEP)
        self.work(by, names, len(KEYS), 5 * SECOND)

    @precondition(any_granted)
    @rule(by=instances, position=recent)
    def park_denied(self, by: int, position: int) -> None:
        self.park(by, self.granted(position))

    def park(self, by: int, claim: Claim) -> None:
        gate = self.denied.get(claim.token)
        if gate is not None:
            self.side.ack(self.instance(by), Ack.park(claim, self.request(claim, gate)))

    @rule(by=instances, max_deliveries=st.sampled_from([None, 1, 2]))
    def die(self, by: int, max_deliveries: int | None) -> None:
        """All workers are killed, and others come."""
        self.side.advance(8 * SECOND)
        self.side.claim(self.instance(by), None, 10, 5 * SECOND, max_deliveries)

    @precondition(any_granted)
    @rule(by=instances, position=recent, gate=st.sampled_from(["slots", "rate", "cooldown", "debounce"]))
    def release(self, by: int, position: int, gate: str) -> None:
        self.side.release(self.instance(by), self.request(self.granted(position), gate))

    @precondition(any_granted)
    @rule(by=instances, position=recent, gate=st.sampled_from(["slots", "rate"]), limit=st.integers(1, 3))
    def resize(self, by: int, position: int, gate: str, limit: int) -> None:
        """The newest request's limit is the gate's; only a current claim's request says so for certain."""
        claim = self.granted(position)
        if self.side.pure.current(claim, self.side.pure.settled()) is not None:
            self.limits[gate] = limit
            self.ask(by, claim, [gate])

    # --- time, and what can be seen ---------------------------------------------------------------

    @rule(delta=st.sampled_from([1, HALF, SECOND, 2 * SECOND, 3 * SECOND, 5 * SECOND, 20 * SECOND]))
    def advance(self, delta: Micros) -> None:
        self.side.advance(delta)

    @rule(states=pages, limit=st.integers(1, 4))
    def scan(self, states: frozenset[State], limit: int) -> None:
        self.side.scan(states, limit)

    @invariant()
    def readers_agree(self) -> None:
        if hasattr(self, "side"):
            self.side.compare(KEYS)


def profile(examples: int = 40) -> settings:
    """A short run that is the same each time; a long one that is not, where the environment asks for it."""
    asked_for = os.environ.get(EXAMPLES)
    return settings(
        max_examples=int(asked_for) if asked_for else examples,
        stateful_step_count=60 if asked_for else 30,
        derandomize=asked_for is None,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def affordable(opener: OpenBackend) -> int:
    """How many histories fit into some ten seconds, from a few to forty, as quick as this backend is now."""
    Side(opener, f"history-{uuid4().hex}", ManualClock(), SECOND).close()  # makes what only the first has to
    began = time.perf_counter()
    side = Side(opener, f"history-{uuid4().hex}", ManualClock(), SECOND)
    for number in range(15):
        side.add(side.instances[0], [Task("a", "f", b"", f"run-{number}")], OnConflict.REPLACE, at_once=True)
        side.claim(side.instances[1], None, 1, SECOND, None)
        side.compare(KEYS)
        side.advance(SECOND)
    side.close()
    return max(5, min(40, int(10 / (2 * (time.perf_counter() - began)))))


class TestHistory:
    def test_random_histories(self, open_backend: OpenBackend) -> None:
        """The backend and a pure model, side by side through random histories, are never seen to differ."""

        class Driven(History):
            opener = staticmethod(open_backend)

        run_state_machine_as_test(Driven, settings=profile(affordable(open_backend)))
