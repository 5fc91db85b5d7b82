"""Gates: expiring permits, and the tasks that are parked in front."""

from collections.abc import Set as AbstractSet

from docket_core.backend.clock import Micros
from docket_core.backend.model import Permit, PermitRequest, PermitStatus
from docket_memory.index import Index, Indexes
from docket_memory.parts import Part


class HeldPermit:
    """One holder's permit in a gate: live, or expired and remembered while its run is live."""

    __slots__ = ("bound", "expires_at", "extend", "part", "reserved")

    def __init__(self, part: Part | None, expires_at: Micros, bound: bool, extend: bool, reserved: bool) -> None:
        self.part = part
        self.expires_at = expires_at
        self.bound = bound
        self.extend = extend
        self.reserved = reserved
        """Taken by a claim for a parked task; its own acquire has not come yet."""


class GateState:
    """One gate: its limit, its permits, and who is parked in front."""

    __slots__ = ("indexed", "limit", "live", "name", "parked", "parked_count", "permits")

    def __init__(self, name: str) -> None:
        self.name = name
        self.limit = 0
        self.permits: dict[str, HeldPermit] = {}
        self.live = Index()
        """Holders of unexpired permits, by expiry."""
        self.parked = Indexes()
        """Parked keys by function and place."""
        self.parked_count = 0
        self.indexed: set[str] = set()
        """The functions under which the gate stands in the index of gates to wake."""

    @property
    def free(self) -> int:
        return self.limit - len(self.live)

    def earliest_expiry(self) -> Micros | None:
        first = self.live.first()
        return first[0] if first is not None else None

    def expire(self, now: Micros) -> None:
        """What has expired counts no more; it is remembered while its run is live."""
        while (first := self.live.first()) is not None and first[0] <= now:
            self.live.discard(first[2])
            if self.permits[first[2]].part is None:
                del self.permits[first[2]]

    def ahead_of(self, part: Part) -> int:
        """How many parked tasks stand before this one."""
        place = part.places.get(self.name) if part.places else None
        if place is None:
            return self.parked_count
        return sum(index.before(place) for _, index in self.parked.among(None))


class Gates:
    """All gates of a docket."""

    def __init__(self) -> None:
        self._gates: dict[str, GateState] = {}
        self._awake = Indexes()
        """By function: gates where such tasks are parked, by when a permit is free next."""
        self._expiry = Index()

    def __len__(self) -> int:
        return len(self._gates)

    def next_wake(self, functions: AbstractSet[str] | None) -> Micros | None:
        """When the next permit is free for a parked task of these functions; 0 for now."""
        return self._awake.earliest(functions)

    def acquire(self, part: Part, requests: list[PermitRequest], now: Micros) -> list[Permit]:
        """All of one running task's requests, or none."""
        answers: list[Permit] = []
        taken: dict[str, int] = {}
        for request in requests:
            gate = self._gate(request)
            gate.expire(now)
            permit = gate.permits.get(request.holder)
            live = permit is not None and request.holder in gate.live
            if permit is not None and live:
                status = PermitStatus.GRANTED if permit.reserved and permit.part is part else PermitStatus.HELD
            elif gate.free - taken.get(gate.name, 0) > gate.ahead_of(part):
                status = PermitStatus.GRANTED if permit is None else PermitStatus.LAPSED
                taken[gate.name] = taken.get(gate.name, 0) + 1
            else:
                until = self._deny(gate, request, now)
                self._free_reserved(part)
                self._settle(requests)
                return [Permit(PermitStatus.DENIED, until, gate.name)] * len(requests)
            answers.append(Permit(status, None, gate.name))
        for position, (request, answer) in enumerate(zip(requests, answers, strict=True)):
            until = self._take(part, request, answer.status, now)
            answers[position] = Permit(answer.status, until, answer.gate)
        part.places = part.request = None
        self._settle(requests)
        return answers

    def give_back(self, request: PermitRequest, part: Part, now: Micros) -> bool:
        """Whether the holder had an unexpired permit; it has none any more."""
        gate = self._gates.get(request.gate.name)
        if gate is None:
            return False
        gate.expire(now)
        live = request.holder in gate.live
        self._remove(gate, request.holder, part)
        self._reindex(gate)
        return live

    def park(self, part: Part, request: PermitRequest, sequence: int, now: Micros) -> None:
        """Put a task in front of a gate, at the place it has there or behind all others."""
        gate = self._gate(request)
        part.places = part.places or {}
        place = part.places.setdefault(gate.name, sequence)
        part.request = request
        part.parked_at = now
        gate.parked.add(part.function, part.key, place)
        gate.parked_count += 1
        gate.expire(now)
        self._reindex(gate)

    def unpark(self, part: Part) -> None:
        """Take a task away from its gate."""
        if part.parked_at is None or part.request is None:
            return
        gate = self._gates[part.request.gate.name]
        gate.parked.discard(part.function, part.key)
        gate.parked_count -= 1
        part.parked_at = None
        self._reindex(gate)

    def wakeable(self, functions: AbstractSet[str] | None, now: Micros) -> str | None:
        """The key of a parked task of these functions whose gate has a free permit: the oldest of its gate."""
        for name in self._awake.due(functions, now):
            gate = self._gates[name]
            gate.expire(now)
            self._reindex(gate)
            if gate.free > 0:
                firsts = [first for _, index in gate.parked.among(functions) if (first := index.first()) is not None]
                return min(firsts)[2]
        return None

    def reserve(self, part: Part) -> None:
        """Take the permit that a parked task waits for, in the step that claims it."""
        request = part.request
        if request is None:
            return
        gate = self._gates[request.gate.name]
        if request.holder not in gate.live:
            self._put(gate, part, request, part.lease_until, reserved=True)
        self.unpark(part)

    def _free_reserved(self, part: Part) -> None:
        """A denied task holds nothing: two that were woken at two gates must not deny each other for ever."""
        for gate, holder, permit in self._permits_of(part):
            if permit.reserved:
                self._remove(gate, holder, part)
                self._reindex(gate)

    def renewed(self, part: Part) -> None:
        """The lease was renewed: what is bound to it lasts as long."""
        for gate, holder, permit in self._permits_of(part):
            if permit.bound or permit.reserved:
                permit.expires_at = part.lease_until
                gate.live.add(holder, part.lease_until)
                self._reindex(gate)

    def lease_ended(self, part: Part) -> None:
        """Free what is bound to the lease."""
        for gate, holder, permit in self._permits_of(part):
            if permit.bound or permit.reserved:
                self._remove(gate, holder, part)
                self._reindex(gate)

    def run_ended(self, part: Part, now: Micros) -> None:
        """The run is over or replaced: only unexpired permits that outlive it stay."""
        self.unpark(part)
        for gate, holder, permit in self._permits_of(part):
            gate.expire(now)
            if permit.bound or permit.reserved or permit.extend or holder not in gate.live:
                self._remove(gate, holder, part)
            else:
                permit.part = None
            self._reindex(gate)
        part.permits = None

    def replaced_while_running(self, part: Part) -> None:
        """The run is a hold from now on: it keeps its permits but for those that go with a live part."""
        for gate, holder, permit in self._permits_of(part):
            if permit.extend:
                self._remove(gate, holder, part)
                self._reindex(gate)

    def prune(self, limit: int, now: Micros) -> int:
        """Forget up to `limit` gates' expired permits."""
        removed = 0
        while removed < limit and (first := self._expiry.first()) is not None and first[0] <= now:
            gate = self._gates[first[2]]
            gate.expire(now)
            self._reindex(gate)
            removed += 1
        return removed

    def _permits_of(self, part: Part) -> list[tuple[GateState, str, HeldPermit]]:
        owned: list[tuple[GateState, str, HeldPermit]] = []
        for gate_name, holder in part.permits or ():
            gate = self._gates.get(gate_name)
            permit = gate.permits.get(holder) if gate is not None else None
            if gate is not None and permit is not None and permit.part is part:
                owned.append((gate, holder, permit))
        return owned

    def _gate(self, request: PermitRequest) -> GateState:
        name = request.gate.name
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = GateState(name)
        gate.limit = request.gate.limit
        return gate

    def _deny(self, gate: GateState, request: PermitRequest, now: Micros) -> Micros | None:
        if request.extend_on_conflict:
            until = now + request.ttl
            for _, _, holder in list(gate.live):
                permit = gate.permits[holder]
                if not (permit.bound or permit.reserved) and permit.expires_at < until:
                    permit.expires_at = until
                    gate.live.add(holder, until)
        return gate.earliest_expiry()

    def _take(self, part: Part, request: PermitRequest, status: PermitStatus, now: Micros) -> Micros:
        gate = self._gates[request.gate.name]
        if status is PermitStatus.HELD:
            return gate.permits[request.holder].expires_at
        until = part.lease_until if request.bound else now + request.ttl
        self._put(gate, part, request, until, reserved=False)
        return until

    def _put(self, gate: GateState, part: Part, request: PermitRequest, until: Micros, *, reserved: bool) -> None:
        gate.permits[request.holder] = HeldPermit(part, until, request.bound, request.extend_on_conflict, reserved)
        gate.live.add(request.holder, until)
        if part.permits is None:
            part.permits = set()
        part.permits.add((gate.name, request.holder))

    def _remove(self, gate: GateState, holder: str, part: Part) -> None:
        gate.live.discard(holder)
        gate.permits.pop(holder, None)
        if part.permits is not None:
            part.permits.discard((gate.name, holder))

    def _settle(self, requests: list[PermitRequest]) -> None:
        for name in {request.gate.name for request in requests}:
            if name in self._gates:
                self._reindex(self._gates[name])

    def _reindex(self, gate: GateState) -> None:
        """Bring the gate's places in the indexes up to date; forget a gate that nobody needs."""
        expiry = gate.earliest_expiry()
        if expiry is None:
            self._expiry.discard(gate.name)
        elif self._expiry.score(gate.name) != expiry:
            self._expiry.add(gate.name, expiry)
        wake = 0 if gate.free > 0 else expiry
        parked = dict(gate.parked.among(None))
        for function in gate.indexed - parked.keys():
            self._awake.discard(function, gate.name)
        gate.indexed = set(parked)
        for function, index in parked.items():
            first = index.first()
            if wake is None or first is None:
                self._awake.discard(function, gate.name)
            else:
                self._awake.add(function, gate.name, wake, first[0])
        if not gate.permits and not gate.parked_count:
            self._gates.pop(gate.name, None)
