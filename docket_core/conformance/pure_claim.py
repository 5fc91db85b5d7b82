"""The pure model's view of a claim: what it must, may and must not bring."""

from collections.abc import Set as AbstractSet

from docket_core.backend.clock import SECOND, Micros
from docket_core.backend.model import Claim, Claimed
from docket_core.backend.states import State
from docket_core.conformance.pure import Pure
from docket_core.conformance.pure_parts import Run


def recovery(delivery: int, max_deliveries: int | None) -> Micros:
    """The first recovery of a generation is not delayed, the nth waits 2^(n-2) s, at most 60; an end does not wait."""
    if delivery < 2 or (max_deliveries is not None and delivery >= max_deliveries):
        return 0
    return min(60, 1 << (delivery - 2)) * SECOND


class ClaimCheck:
    """One claim, checked against the model and applied to it."""

    def __init__(
        self, pure: Pure, worker: str, functions: AbstractSet[str] | None, limit: int, lease: Micros, most: int | None
    ) -> None:
        self.pure, self.worker, self.functions = pure, worker, functions
        self.limit, self.lease, self.max_deliveries = limit, lease, most

    def wanted(self, run: Run) -> bool:
        return self.functions is None or run.task.function in self.functions

    def apply(self, reply: Claimed) -> None:
        """Assert that the contract allows the reply, and let it come true."""
        pure = self.pure
        self.now = now = pure.swept()
        assert reply.now == now
        self._end_poisoned(reply)
        runs = [run for run in pure.runs() if self.wanted(run)]
        lapsed = [run for run in runs if run.lapsed(now) and run.lease_until + run.recovery <= now]
        recoverable = [run for run in lapsed if not self._is_poisonous(run)]
        parked = [run for run in runs if run.parked is not None]
        held_up = [key.live for key in pure.keys.values() if key.hold is not None]
        ready = [run for run in runs if run.state(now) is State.QUEUED and run not in held_up]
        by_key = {run.task.key: run for run in recoverable + parked + ready}
        names = [claim.key for claim in reply.claims]
        assert len(names) == len(set(names)), f"granted twice: {names}"
        assert set(names) <= by_key.keys(), f"{set(names) - by_key.keys()} cannot be claimed"
        taken = [by_key[name] for name in names]
        self._assert_complete(taken, recoverable, parked, ready)
        for run in taken:
            if run.running:
                pure.gates.lease_ended(run)
        for claim, run in zip(reply.claims, taken, strict=True):
            self._grant(claim, run)
        self._assert_next_at(reply.next_at)

    def _is_poisonous(self, run: Run) -> bool:
        return self.max_deliveries is not None and run.delivery >= self.max_deliveries

    def _end_poisoned(self, reply: Claimed) -> None:
        due = {
            run.task.key
            for run in self.pure.runs()
            if self.wanted(run)
            and run.lapsed(self.now)
            and run.lease_until + run.recovery <= self.now
            and self._is_poisonous(run)
        }
        ended = {ended.key for ended in reply.ended if ended.state is State.FAILED}
        assert ended <= due, f"{ended - due} ended, but not for too many deliveries"
        assert ended == due or len(reply.claims) >= self.limit, f"{due - ended} was to end"
        for name in ended:
            self.pure.poisoned(name)

    def _assert_complete(self, taken: list[Run], recoverable: list[Run], parked: list[Run], ready: list[Run]) -> None:
        """As many as there are, up to the limit; expired leases first; each gate's and each function's oldest."""
        gates = self.pure.gates
        room: dict[str, int] = {}
        for run in parked:
            assert run.parked is not None
            name = run.parked.gate.name
            mine = [other for other in parked if other.parked is not None and other.parked.gate.name == name]
            free = max(0, gates.free(name, self.now))
            room[name] = min(free, len(mine))
            chosen = [other for other in mine if other in taken]
            assert len(chosen) <= free, f"{len(chosen)} woken at {name}, which has {free} free"
            latest = max((other.places[name] for other in chosen), default=0)
            assert all(other.places[name] >= latest for other in mine if other not in taken), (
                f"not the oldest at {name}"
            )
        possible = len(recoverable) + len(ready) + sum(room.values())
        assert len(taken) == min(self.limit, possible)
        assert len([run for run in taken if run in recoverable]) == min(self.limit, len(recoverable))
        for function in {run.task.function for run in ready}:
            order = [run for run in taken if run in ready and run.task.function == function]
            rest = [run for run in ready if run.task.function == function and run not in taken]
            for position, run in enumerate(order):
                late = [other for other in order[position + 1 :] + rest if other.ready[1] < run.ready[0]]
                assert not late, f"{run.task.key} came before {[other.task.key for other in late]}"

    def _grant(self, claim: Claim, run: Run) -> None:
        pure, task = self.pure, run.task
        assert claim.token > pure.token
        pure.token = run.token = claim.token
        run.worker, run.started_at, run.lease_until = self.worker, self.now, self.now + self.lease
        run.delivery += 1
        run.recovery = recovery(run.delivery, self.max_deliveries)
        run.progress = None
        assert claim == Claim(
            *(task.key, run.generation, claim.token, task.function, task.payload, task.headers, task.run),
            *(run.when, run.delivery, run.attempt, self.now, run.lease_until),
        )
        if run.parked is not None:
            run.woken, run.parked = run.parked, None
            pure.gates.reserve(run, run.woken, self.now)

    def _assert_next_at(self, next_at: Micros | None) -> None:
        """A bound from below of when there is something to do; None: there is nothing of these functions."""
        moments: list[Micros] = []
        for key in self.pure.keys.values():
            run = key.live
            if run is None or not self.wanted(run):
                continue
            if run.running:
                moments.append(run.lease_until + (0 if run.cancel_requested else run.recovery))
            elif run.parked is not None:
                wake = self.pure.gates.free_from(run.parked.gate.name, self.now)
                moments += [] if wake is None else [wake]
            else:
                moments.append(max(run.when, key.hold.lease_until if key.hold is not None else run.when))
        if moments:
            assert next_at is not None
            assert next_at <= max(self.now, min(moments))
        elif next_at is not None:
            assert any(key.live is not None or key.hold is not None for key in self.pure.keys.values())
