"""Broken at gates: permits and parking."""

from collections.abc import Sequence

from docket_core.backend.clock import SECOND, Micros
from docket_core.backend.model import Ack, Acked, Claim, Permit, PermitRequest
from docket_memory.gates import Gates, GateState
from docket_memory.parts import Part
from docket_memory.store import Store
from tests.conformance.mutants.mutant import Mutant, Sound


class OverLimit(Sound):
    """Lets one more past a gate than its limit."""

    class gates(Gates):
        def _gate(self, request: PermitRequest) -> GateState:
            gate = super()._gate(request)
            gate.limit = request.gate.limit + 1
            return gate


class LeaksPermits(Sound):
    """Bound permits outlive the lease: nothing but time frees them."""

    class gates(Gates):
        def _put(self, gate: GateState, part: Part, request: PermitRequest, until: Micros, *, reserved: bool) -> None:
            super()._put(gate, part, request, until + 3600 * SECOND * request.bound, reserved=reserved)

        def lease_ended(self, part: Part) -> None:
            pass


class ParksByKey(Sound):
    """Takes the verdicts of one call in the order of their keys."""

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        order = sorted(range(len(acks)), key=lambda number: acks[number].claim.key)
        answers = dict(zip(order, await super().ack([acks[number] for number in order]), strict=True))
        return [answers[number] for number in range(len(acks))]


class GrantsByKey(Sound):
    """Gives the permits of one call to the lowest keys."""

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        order = sorted(range(len(requests)), key=lambda number: requests[number].claim.key)
        answers = dict(zip(order, await super().acquire([requests[number] for number in order]), strict=True))
        return [answers[number] for number in range(len(requests))]


class TakesTwo(Sound):
    """Counts a redelivery again."""

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        return await super().acquire(
            [request._replace(holder=f"{request.holder}/{request.claim.delivery}") for request in requests]
        )


class ForgetsLapsed(Sound):
    """Does not remember that a permit has expired."""

    class gates(Gates):
        def acquire(self, part: Part, requests: list[PermitRequest], now: Micros) -> list[Permit]:
            for request in requests:
                gate = self._gate(request)
                gate.expire(now)
                if request.holder not in gate.live:
                    gate.permits.pop(request.holder, None)
            return super().acquire(part, requests, now)


class GrantsOneByOne(Sound):
    """Grants what it can of a group."""

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        answers: list[Permit] = []
        for request in requests:
            answers += await super().acquire([request])
        return answers


class NeverExtends(Sound):
    """A denial moves no expiry."""

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        return await super().acquire([request._replace(extend_on_conflict=False) for request in requests])


class NewestParkedFirst(Sound):
    """Wakes who parked last."""

    class gates(Gates):
        def park(self, part: Part, request: PermitRequest, sequence: int, now: Micros) -> None:
            super().park(part, request, -sequence, now)


class LetsNewcomersPass(Sound):
    """Who comes now goes before those who are parked."""

    class gates(Gates):
        def acquire(self, part: Part, requests: list[PermitRequest], now: Micros) -> list[Permit]:
            part.places = {request.gate.name: -1 for request in requests}
            return super().acquire(part, requests, now)


class LosesPlaces(Sound):
    """Who comes back to a gate goes behind all others."""

    class gates(Gates):
        def park(self, part: Part, request: PermitRequest, sequence: int, now: Micros) -> None:
            part.places = None
            super().park(part, request, sequence, now)


class WakesWithoutPermit(Sound):
    """A claim wakes a parked task, and takes no permit for it."""

    class gates(Gates):
        def reserve(self, part: Part) -> None:
            self.unpark(part)


class FreesAHoldsPermits(Sound):
    """A replaced run loses its permits while its body still runs."""

    class gates(Gates):
        def replaced_while_running(self, part: Part) -> None:
            self.lease_ended(part)


class ReservesAtTakeover(Sound):
    """Who takes a woken task over takes its permit too, free or not."""

    class store(Store):
        def _grant(self, part: Part, worker: str, lease: Micros, max_deliveries: int | None, now: Micros) -> Claim:
            claim = super()._grant(part, worker, lease, max_deliveries, now)
            self.gates.reserve(part)
            return claim


class ParksBeforeNothing(Sound):
    """Takes a gate's limit from an acquire only: who parks when nobody holds anything any more is never woken."""

    class gates(Gates):
        def park(self, part: Part, request: PermitRequest, sequence: int, now: Micros) -> None:
            known = self._gates.get(request.gate.name)
            limit = known.limit if known is not None else 0
            super().park(part, request._replace(gate=request.gate._replace(limit=limit)), sequence, now)


class ExtendsAll(Sound):
    """A denial pushes the expiry of what lives with a lease as well."""

    class gates(Gates):
        def _deny(self, gate: GateState, request: PermitRequest, now: Micros) -> Micros | None:
            for holder in [holder for _, _, holder in gate.live if request.extend_on_conflict]:
                gate.permits[holder].expires_at = now + request.ttl
                gate.live.add(holder, now + request.ttl)
            return gate.earliest_expiry()


FLOW = (
    Mutant(OverLimit, ("TestPermits.test_granted_up_to_the_limit", "TestPermits.test_newest_limit_counts")),
    Mutant(
        LeaksPermits,
        (
            "TestPermits.test_takeover_frees_bound_permits",
            "TestPermits.test_every_verdict_frees_bound_permits",
            "TestParking.test_dead_holders_hold_nobody_up",
        ),
    ),
    Mutant(ParksByKey, ("TestParking.test_parked_in_one_call_wait_in_its_order",)),
    Mutant(GrantsByKey, ("TestPermits.test_first_asked_is_first_granted",)),
    Mutant(TakesTwo, ("TestPermits.test_same_holder_never_takes_two",)),
    Mutant(
        ForgetsLapsed,
        ("TestPermits.test_expired_counts_for_nothing", "TestDebouncing.test_quiet_then_the_holder_runs"),
    ),
    Mutant(GrantsOneByOne, ("TestPermits.test_group_is_granted_together_or_not_at_all",)),
    Mutant(NeverExtends, ("TestDebouncing.test_denial_pushes_the_expiry",)),
    Mutant(NewestParkedFirst, ("TestParking.test_freed_permit_wakes_the_oldest",)),
    Mutant(LetsNewcomersPass, ("TestParking.test_newcomers_queue_up",)),
    Mutant(
        LosesPlaces,
        ("TestParking.test_place_is_kept_until_the_body_runs",),
    ),
    Mutant(WakesWithoutPermit, ("TestParking.test_permit_is_taken_by_the_claim",)),
    Mutant(FreesAHoldsPermits, ("TestPermits.test_hold_keeps_its_permits",)),
    Mutant(ParksBeforeNothing, ("TestPlaces.test_freed_before_it_parks",)),
    Mutant(ReservesAtTakeover, ("TestPlaces.test_takeover_takes_no_permit",)),
    Mutant(ExtendsAll, ("TestDebouncing.test_what_lives_with_a_lease_is_not_pushed",)),
)
