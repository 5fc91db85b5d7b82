"""The gates of the pure model: who holds a permit, who waits, and what an acquire may answer."""

from collections.abc import Callable, Sequence

from docket_core.backend.clock import Micros
from docket_core.backend.model import Permit, PermitRequest, PermitStatus
from docket_core.conformance.pure_parts import Held, Run


class PureGates:
    """Permits by (gate, holder); who is parked is told by the runs themselves."""

    def __init__(self, runs: Callable[[], list[Run]]) -> None:
        self._runs = runs
        self._permits: dict[tuple[str, str], Held] = {}
        self.limits: dict[str, int] = {}

    def live(self, gate: str, now: Micros) -> list[Held]:
        return [held for (name, _), held in self._permits.items() if name == gate and held.until > now]

    def free(self, gate: str, now: Micros) -> int:
        return self.limits[gate] - len(self.live(gate, now))

    def free_from(self, gate: str, now: Micros) -> Micros | None:
        """The moment from which a permit is free, if nothing but time passes."""
        ends = sorted(held.until for held in self.live(gate, now))
        if self.limits[gate] <= 0:
            return None
        return now if len(ends) < self.limits[gate] else ends[len(ends) - self.limits[gate]]

    def parked(self, gate: str) -> list[Run]:
        return [run for run in self._runs() if run.parked is not None and run.parked.gate.name == gate]

    def ahead(self, run: Run, gate: str) -> tuple[int, int]:
        """How many stand before this run, at least and at most: those that parked at one moment are tied."""
        others = [other.places[gate] for other in self.parked(gate) if other is not run]
        place = run.places.get(gate)
        if place is None:
            return len(others), len(others)
        return sum(other < place for other in others), sum(other <= place for other in others)

    def acquire(self, run: Run, requests: Sequence[PermitRequest], answers: Sequence[Permit], now: Micros) -> None:
        """Check the answers to one current claim's group, and apply them."""
        expected: list[tuple[PermitStatus, ...]] = []
        for request in requests:
            gate = request.gate.name
            self.limits[gate] = request.gate.limit
            held = self._permits.get((gate, request.holder))
            if held is not None and held.until > now:
                mine = held.reserved and held.run is run
                expected.append((PermitStatus.GRANTED if mine else PermitStatus.HELD,))
                continue
            free = self.free(gate, now)
            least, most = self.ahead(run, gate)
            denied = answers[0].status is PermitStatus.DENIED and answers[0].gate == gate
            if free <= least or (free <= most and denied):
                self._denied(request, answers, now)
                self._drop(lambda held: held.run is run and held.reserved)
                return
            expected.append(self._statuses(held))
        for request, answer, allowed in zip(requests, answers, expected, strict=True):
            assert answer.status in allowed, f"{answer} was told for {request}, {allowed} is true"
            assert answer.gate == request.gate.name
            assert answer.until == self._granted(run, request, answer.status, now)
        run.places.clear()
        run.woken = None

    def _statuses(self, held: Held | None) -> tuple[PermitStatus, ...]:
        if held is None or held.run is None:
            return (PermitStatus.GRANTED,)
        return (PermitStatus.GRANTED, PermitStatus.LAPSED) if held.given_back else (PermitStatus.LAPSED,)

    def _granted(self, run: Run, request: PermitRequest, status: PermitStatus, now: Micros) -> Micros:
        identity = (request.gate.name, request.holder)
        if status is PermitStatus.HELD:
            return self._permits[identity].until
        until = run.lease_until if request.bound else now + request.ttl
        self._permits[identity] = Held(request, run, until)
        return until

    def _denied(self, request: PermitRequest, answers: Sequence[Permit], now: Micros) -> None:
        live = self.live(request.gate.name, now)
        if request.extend_on_conflict:
            for held in live:
                if not held.with_lease:
                    held.until = max(held.until, now + request.ttl)
        until = min((held.until for held in live), default=None)
        for answer in answers:
            assert answer == Permit(PermitStatus.DENIED, until, request.gate.name)

    def give_back(self, request: PermitRequest, now: Micros) -> bool:
        """Whether the holder had an unexpired permit."""
        identity = (request.gate.name, request.holder)
        held = self._permits.get(identity)
        if held is None:
            return False
        if held.until > now:
            del self._permits[identity]
            return True
        held.given_back = True
        return False

    def reserve(self, run: Run, request: PermitRequest, now: Micros) -> None:
        """A claim takes the permit of the parked task that it takes."""
        identity = (request.gate.name, request.holder)
        held = self._permits.get(identity)
        if held is None or held.until <= now:
            self._permits[identity] = Held(request, run, run.lease_until, reserved=True)

    def renewed(self, run: Run) -> None:
        for held in self._permits.values():
            if held.run is run and held.with_lease:
                held.until = run.lease_until

    def lease_ended(self, run: Run) -> None:
        self._drop(lambda held: held.run is run and held.with_lease)

    def replaced_while_running(self, run: Run) -> None:
        self._drop(lambda held: held.run is run and held.request.extend_on_conflict)

    def run_ended(self, run: Run, now: Micros) -> None:
        """Only unexpired permits that outlive the run stay."""
        self.lease_ended(run)
        self.replaced_while_running(run)
        self._drop(lambda held: held.run is run and held.until <= now)
        for held in self._permits.values():
            if held.run is run:
                held.run = None

    def _drop(self, which: Callable[[Held], bool]) -> None:
        self._permits = {identity: held for identity, held in self._permits.items() if not which(held)}
