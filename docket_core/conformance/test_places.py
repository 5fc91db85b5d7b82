"""Places in gates: how long a parked task keeps its place and its permit, through deaths, releases and retries."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Gate, PermitStatus
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, slot

ONE = Gate("gate", 1)


class TestPlaces(Requirements):
    async def test_freed_before_it_parks(self, subject: Subject) -> None:
        """Between a denial and the park the gate may have become free, and forgotten: who parks is woken at once."""
        holder, late = await subject.running("holder"), await subject.running("late")
        await subject.acquire(slot(holder, ONE))
        request = slot(late, ONE)
        assert (await subject.acquire(request)).status is PermitStatus.DENIED
        await subject.end(holder)
        assert await subject.ack(Ack.park(late, request)) is Acked.ACKED
        assert (await subject.acquire(slot(await subject.take("late"), ONE))).status is PermitStatus.GRANTED

    async def test_takeover_takes_no_permit(self, subject: Subject) -> None:
        """Who takes a woken task over from a dead worker has its permit no more: another may have taken it."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("parked", ONE)
        await subject.end(holder)
        await subject.take("parked")
        newcomer = await subject.running("newcomer", lease=10 * LEASE)
        await subject.advance(LEASE)
        assert (await subject.acquire(slot(newcomer, ONE))).status is PermitStatus.GRANTED
        again = await subject.take("parked")
        assert (await subject.acquire(slot(again, ONE))).status is PermitStatus.DENIED

    async def test_place_survives_a_dead_worker(self, subject: Subject) -> None:
        """A place is kept until the task runs its body: also where the worker that was woken with it has died."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        for key in ("first", "second"):
            await subject.parked(key, ONE)
            await subject.advance(SECOND)
        await subject.end(holder)
        await subject.take("first")
        await subject.advance(LEASE)
        first, second = sorted(await subject.claim(), key=lambda claim: claim.key)
        assert (await subject.acquire(slot(second, ONE))).status is PermitStatus.GRANTED
        await subject.parked("third", ONE)
        assert (await subject.acquire(slot(first, ONE))).status is PermitStatus.DENIED
        await subject.ack(Ack.park(first, slot(first, ONE)))
        await subject.end(second)
        assert [claim.key for claim in await subject.claim(1)] == ["first"]

    async def test_a_grant_ends_the_parking(self, subject: Subject) -> None:
        """A granted group gives up its places: the task is one of the ready when it is given back, and parks anew."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("first", ONE)
        await subject.parked("second", ONE)
        await subject.end(holder)
        first = await subject.take("first")
        assert (await subject.acquire(slot(first, ONE))).status is PermitStatus.GRANTED
        assert await subject.ack(Ack.release(first)) is Acked.ACKED
        assert await subject.state("first") is State.QUEUED
        first, second = sorted(await subject.claim(), key=lambda claim: claim.key)
        assert (await subject.acquire(slot(second, ONE))).status is PermitStatus.GRANTED
        await subject.parked("third", ONE)
        assert await subject.ack(Ack.park(first, slot(first, ONE))) is Acked.ACKED
        await subject.end(second)
        assert [claim.key for claim in await subject.claim(1)] == ["third"]

    async def test_a_retry_ends_the_parking(self, subject: Subject) -> None:
        """retry: places in gates are lost; the task is one of the ready when it is given back, and parks anew."""
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("first", ONE)
        await subject.end(holder)
        woken = await subject.take("first")
        assert await subject.ack(Ack.retry(woken, attempt=2)) is Acked.ACKED
        assert await subject.ack(Ack.release(await subject.take("first"))) is Acked.ACKED
        assert await subject.state("first") is State.QUEUED
        first = await subject.take("first")
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, ONE))
        await subject.parked("second", ONE)
        assert await subject.ack(Ack.park(first, slot(first, ONE))) is Acked.ACKED
        await subject.end(holder)
        assert [claim.key for claim in await subject.claim(1)] == ["second"]
