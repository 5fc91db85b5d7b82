"""Parking: tasks that wait in front of a gate, and how claims wake them."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    EnqueueStatus,
    Gate,
    Permit,
    PermitRequest,
    PermitStatus,
    Renewal,
)
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, assert_leads_to, slot, turn

ONE = Gate("gate", 1)


class TestParking(Requirements):
    async def test_parked_task_reads_as_scheduled(self, subject: Subject) -> None:
        """A parked task reads as SCHEDULED with `parked_at`; generation + 1, `when` untouched, excluded from due."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        when = subject.now
        await subject.parked("key", ONE)
        record = await subject.record()
        assert record is not None
        assert record.live is not None
        live = record.live
        assert (live.state, live.parked_at, live.when) == (State.SCHEDULED, subject.now, when)
        assert (live.generation, live.delivery, live.attempt, live.token) == (2, 0, 1, None)
        assert await subject.claim() == []

    async def test_freed_permit_wakes_the_oldest(self, subject: Subject) -> None:
        """A claim takes parked tasks as it takes due ones: of each gate the oldest parked first."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        for key in ("first", "second", "third"):
            await subject.parked(key, ONE)
            await subject.advance(SECOND)
        for key in ("first", "second", "third"):
            await subject.end(holder)
            holder = await subject.take(key)
            assert (await subject.acquire(slot(holder, ONE))).status is PermitStatus.GRANTED
            assert await subject.claim() == []

    async def test_parked_in_one_call_wait_in_its_order(self, subject: Subject) -> None:
        """The order of parking decides, within one call of `ack` too, whatever the keys are."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        claims = [await subject.running(key) for key in ("b", "c", "a")]
        requests = [slot(claim, ONE) for claim in claims]
        assert [permit.status for permit in await subject.backend.acquire(requests)] == [PermitStatus.DENIED] * 3
        await subject.backend.ack([Ack.park(claim, slot(claim, ONE)) for claim in claims])
        for key in ("b", "c", "a"):
            await subject.end(holder)
            holder = await subject.take(key)
            assert (await subject.acquire(slot(holder, ONE))).status is PermitStatus.GRANTED

    async def test_as_many_as_there_are_permits(self, subject: Subject) -> None:
        """As many as the gate has free permits and the claim has room; never above the limit."""
        gate = Gate("gate", 2)
        holders = [await subject.running(f"holder-{number}") for number in range(2)]
        for holder in holders:
            await subject.acquire(slot(holder, gate))
        for number in range(5):
            await subject.parked(f"parked-{number}", gate)
            await subject.advance(SECOND)
        for holder in holders:
            await subject.end(holder)
        assert [claim.key for claim in await subject.claim(1)] == ["parked-0"]
        assert [claim.key for claim in await subject.claim()] == ["parked-1"]
        assert await subject.claim() == []

    async def test_permit_is_taken_by_the_claim(self, subject: Subject) -> None:
        """The permit is taken in the same step, bound to the lease until the task's own `acquire`."""
        holder = await subject.running("holder")
        await subject.acquire(turn(holder, ONE, SECOND))
        parked = await subject.running("parked")
        request = turn(parked, ONE, 60 * SECOND)
        assert (await subject.acquire(request)).status is PermitStatus.DENIED
        await subject.ack(Ack.park(parked, request))
        newcomer = await subject.running("newcomer", lease=600 * SECOND)
        await subject.advance(SECOND)
        woken = await subject.take("parked")
        assert await subject.acquire(slot(newcomer, ONE)) == Permit(PermitStatus.DENIED, woken.lease_until, "gate")
        await subject.advance(LEASE - SECOND)
        assert list(await subject.backend.renew([woken], LEASE)) == [Renewal.RENEWED]
        await subject.advance(2 * SECOND)
        assert (await subject.acquire(slot(newcomer, ONE))).status is PermitStatus.DENIED
        request = request._replace(claim=woken)
        assert await subject.acquire(request) == Permit(PermitStatus.GRANTED, subject.now + 60 * SECOND, "gate")
        assert (await subject.acquire(request)).status is PermitStatus.HELD

    async def test_lapsed_waker_gives_the_permit_back(self, subject: Subject) -> None:
        """Nothing is reserved for a task that no worker takes: the permit ends with the lease."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("parked", ONE)
        await subject.end(holder)
        await subject.take("parked")
        newcomer = await subject.running("newcomer", lease=10 * LEASE)
        assert (await subject.acquire(slot(newcomer, ONE))).status is PermitStatus.DENIED
        await subject.advance(LEASE)
        assert (await subject.acquire(slot(newcomer, ONE))).status is PermitStatus.GRANTED

    async def test_denied_task_holds_nothing(self, subject: Subject) -> None:
        """Two tasks woken at two gates that both need never deny each other for ever: who is denied holds nothing."""
        other = Gate("other gate", 1)
        holder = await subject.running("holder")
        assert (await subject.acquire(slot(holder, ONE), slot(holder, other))).status is PermitStatus.GRANTED
        await subject.parked("first", ONE)
        await subject.parked("second", other)
        await subject.end(holder)
        first, second = sorted(await subject.claim(), key=lambda claim: claim.key)
        denied = await subject.acquire(slot(first, ONE), slot(first, other))
        assert (denied.status, denied.gate) == (PermitStatus.DENIED, other.name)
        assert (await subject.acquire(slot(second, ONE), slot(second, other))).status is PermitStatus.GRANTED

    async def test_ended_unrun_gives_the_permit_back(self, subject: Subject) -> None:
        """What a claim took for a parked task is freed by every verdict."""
        for key in ("complete", "retry"):
            holder = await subject.running("holder")
            await subject.acquire(slot(holder, ONE))
            await subject.parked(key, ONE)
            await subject.end(holder)
            woken = await subject.take(key)
            done = Ack.complete(woken) if key == "complete" else Ack.retry(woken, attempt=2, delay=3600 * SECOND)
            assert await subject.ack(done) is Acked.ACKED
            newcomer = await subject.running("newcomer")
            assert (await subject.acquire(slot(newcomer, ONE))).status is PermitStatus.GRANTED
            await subject.end(newcomer)

    async def test_only_of_functions_asked_for(self, subject: Subject) -> None:
        """Of the functions it asks for: a parked task in front that nobody here knows holds nobody up."""
        gate = Gate("gate", 2)
        holders = [await subject.running(f"holder-{number}") for number in range(2)]
        for holder in holders:
            await subject.acquire(slot(holder, gate))
        await subject.parked("theirs", gate, function="theirs")
        await subject.advance(SECOND)
        await subject.parked("mine", gate, function="mine")
        await subject.end(holders[0])
        assert [claim.key for claim in await subject.claim(functions={"mine"})] == ["mine"]
        assert await subject.claim(functions={"theirs"}) == []
        await subject.end(holders[1])
        assert [claim.key for claim in await subject.claim(functions={"theirs"})] == ["theirs"]

    async def test_newcomers_queue_up(self, subject: Subject) -> None:
        """A newcomer is GRANTED only if free permits exceed the tasks parked in the gate."""
        holder = await subject.running("holder")
        newcomer = await subject.running("newcomer")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("parked", ONE)
        await subject.end(holder)
        assert (await subject.acquire(slot(newcomer, ONE))).status is PermitStatus.DENIED
        assert (await subject.acquire(slot(newcomer, Gate("gate", 2)))).status is PermitStatus.GRANTED

    async def test_place_is_kept_until_the_body_runs(self, subject: Subject) -> None:
        """A place is kept until the task runs its body: woken, and denied at another gate, it comes back to it."""
        other = Gate("other", 1)
        holder, blocker = await subject.running("holder"), await subject.running("blocker")
        await subject.acquire(slot(holder, ONE))
        await subject.acquire(slot(blocker, other))
        await subject.parked("first", ONE)
        await subject.advance(SECOND)
        await subject.parked("second", ONE)
        await subject.end(holder)
        first = await subject.take("first")
        denied = await subject.backend.acquire([slot(first, ONE), slot(first, other)])
        assert {(permit.status, permit.gate) for permit in denied} == {(PermitStatus.DENIED, "other")}
        await subject.ack(Ack.park(first, slot(first, other)))
        second = await subject.take("second")
        assert (await subject.acquire(slot(second, ONE))).status is PermitStatus.GRANTED
        await subject.parked("third", ONE)
        await subject.end(blocker)
        first = await subject.take("first")
        await subject.acquire(slot(first, ONE))
        await subject.ack(Ack.park(first, slot(first, ONE)))
        await subject.end(second)
        assert [claim.key for claim in await subject.claim(1)] == ["first"]

    async def test_released_waker_keeps_its_place(self, subject: Subject) -> None:
        """release: it keeps its place, in front of its gate too."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("first", ONE)
        await subject.advance(SECOND)
        await subject.parked("second", ONE)
        await subject.end(holder)
        woken = await subject.take("first")
        assert await subject.ack(Ack.release(woken)) is Acked.ACKED
        again = await subject.take("first")
        assert (again.delivery, again.generation) == (woken.delivery, woken.generation)
        assert (await subject.acquire(slot(again, ONE))).status is PermitStatus.GRANTED

    async def test_next_at_is_a_permits_expiry(self, subject: Subject) -> None:
        """`next_at` is the earliest of: … a permit's expiry in a gate where a task is parked."""
        holder = await subject.running("holder")
        await subject.acquire(turn(holder, ONE, 7 * SECOND))
        await subject.end(holder)
        claim = await subject.running()
        request = turn(claim, ONE, 7 * SECOND)
        await subject.ack(Ack.park(claim, request))
        claimed = await subject.backend.claim("worker", {"work"}, 1, LEASE)
        assert list(claimed.claims) == []
        assert_leads_to(claimed, subject.now + 7 * SECOND)
        await subject.advance(7 * SECOND)
        await subject.take("key")

    async def test_is_a_pending_task(self, subject: Subject) -> None:
        """A parked task is a pending task: cancel, clear, replace and keep need no special case."""
        holder = await subject.running("holder", lease=3600 * SECOND)
        await subject.acquire(slot(holder, ONE))
        for key in ("kept", "replaced", "cancelled", "cleared"):
            await subject.parked(key, ONE)
        [kept] = await subject.backend.enqueue([subject.task("kept")])
        assert kept.status is EnqueueStatus.EXISTS
        await subject.replace("replaced")
        await subject.take("replaced")
        assert list(await subject.backend.cancel(["cancelled"])) == [CancelReply.CANCELLED]
        assert await subject.backend.clear() == 2
        assert await subject.states("kept", "cleared") == [State.CANCELLED] * 2
        await subject.end(holder)
        assert await subject.claim() == []
        newcomer = await subject.running("newcomer")
        assert (await subject.acquire(slot(newcomer, ONE))).status is PermitStatus.GRANTED

    async def test_dead_holders_hold_nobody_up(self, subject: Subject) -> None:
        """Holders of a limit all killed, waiters and no new traffic: a waiter starts; never above the limit."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("parked", ONE)
        claimed = await subject.backend.claim("worker", {"work"}, 1, LEASE)
        assert_leads_to(claimed, holder.lease_until)
        await subject.advance(LEASE)
        claims = {claim.key: claim for claim in await subject.claim()}
        assert claims.keys() == {"holder", "parked"}
        statuses = {key: (await subject.acquire(slot(claim, ONE))).status for key, claim in claims.items()}
        assert statuses == {"parked": PermitStatus.GRANTED, "holder": PermitStatus.DENIED}

    async def test_parked_for_a_turn_wakes_at_expiry(self, subject: Subject) -> None:
        """Tasks behind a limit of one a second cost one claim a second, in the order of parking."""
        request: PermitRequest | None = None
        order: list[str] = []
        for key in ("a", "b", "c"):
            claim = await subject.running(key)
            request = turn(claim, ONE, SECOND)
            if (await subject.acquire(request)).status is PermitStatus.DENIED:
                await subject.ack(Ack.park(claim, request))
            else:
                order.append(key)
                await subject.end(claim)
            await subject.advance(SECOND // 10)
        for _ in range(2):
            await subject.advance(SECOND)
            [claim] = await subject.claim()
            order.append(claim.key)
            assert (await subject.acquire(turn(claim, ONE, SECOND))).status is PermitStatus.GRANTED
            await subject.end(claim)
        assert order == ["a", "b", "c"]
