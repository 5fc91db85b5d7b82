"""Fencing: what the holder of a stale token can do, which is nothing; and what a replace leaves behind."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import (
    Ack,
    Acked,
    Claim,
    EnqueueStatus,
    Gate,
    OnConflict,
    PermitStatus,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
)
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, assert_leads_to, slot


async def assert_powerless(subject: Subject, zombie: Claim, answer: Acked) -> None:
    """Nothing that this claim sends changes anything of its key."""
    backend = subject.backend
    gate = Gate("gate", 5)
    before = await subject.record(zombie.key)
    stale = ProgressReply.SUPERSEDED if answer is Acked.SUPERSEDED else ProgressReply.LOST
    assert list(await backend.renew([zombie], 10 * LEASE)) == [Renewal.LOST]
    assert list(await backend.progress([ProgressUpdate(zombie, 1, 2, "zombie")])) == [stale]
    assert (await subject.acquire(slot(zombie, gate))).status is PermitStatus.LOST
    assert list(await backend.release([slot(zombie, gate)])) == [Released.LOST]
    for ack in (
        Ack.complete(zombie, b"zombie", successor=subject.task(zombie.key)),
        Ack.fail(zombie, "zombie"),
        Ack.cancel(zombie),
        Ack.retry(zombie, attempt=9),
        Ack.postpone(zombie),
        Ack.park(zombie, slot(zombie, gate)),
        Ack.release(zombie),
    ):
        assert await subject.ack(ack) is answer
    assert await subject.record(zombie.key) == before


class TestZombies(Requirements):
    async def test_after_takeover_nothing(self, subject: Subject) -> None:
        """Once a claim took the task over: another token holds it, LOST; nothing changes."""
        zombie, holder = await subject.taken_over()
        assert (holder.generation, holder.delivery) == (zombie.generation, 2)
        await assert_powerless(subject, zombie, Acked.LOST)
        assert await subject.ack(Ack.complete(holder, b"true")) is Acked.ACKED

    async def test_after_the_others_verdict_nothing(self, subject: Subject) -> None:
        """A worker paused beyond its lease comes back: the other's verdict stands."""
        zombie, holder = await subject.taken_over()
        await subject.ack(Ack.complete(holder, b"true"))
        await assert_powerless(subject, zombie, Acked.LOST)

    async def test_after_the_others_retry_nothing(self, subject: Subject) -> None:
        """The claim's generation is older than the record's: SUPERSEDED."""
        zombie, holder = await subject.taken_over()
        await subject.ack(Ack.retry(holder, attempt=2))
        await assert_powerless(subject, zombie, Acked.SUPERSEDED)
        again = await subject.take("key")
        await assert_powerless(subject, zombie, Acked.SUPERSEDED)
        await subject.end(again)

    async def test_zombie_cannot_end_a_later_run(self, subject: Subject) -> None:
        """A claim speaks for its own grant only, also when the key is used again."""
        zombie, holder = await subject.taken_over()
        await subject.end(holder)
        await subject.add("key")
        await assert_powerless(subject, zombie, Acked.SUPERSEDED)
        await subject.take("key")
        await assert_powerless(subject, zombie, Acked.SUPERSEDED)

    async def test_after_release_nothing(self, subject: Subject) -> None:
        """A claim that gave its task back holds nothing any more."""
        claim = await subject.running()
        await subject.ack(Ack.release(claim))
        before = await subject.record()
        assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.LOST]
        assert list(await subject.backend.progress([ProgressUpdate(claim, 1)])) == [ProgressReply.LOST]
        assert await subject.record() == before

    async def test_forged_token_is_lost(self, subject: Subject) -> None:
        """Renew, progress, acquire, release and ack carry the token: it is the fence."""
        claim = await subject.running()
        await assert_powerless(subject, claim._replace(token=claim.token + 1), Acked.LOST)
        await subject.end(claim)

    async def test_taken_over_by_another_instance(self, subject: Subject) -> None:
        """The fence holds over instances: two of them stand for two processes."""
        other = await subject.another()
        zombie = await subject.running()
        await subject.advance(LEASE)
        holder = await subject.take("key", by=other)
        await assert_powerless(subject, zombie, Acked.LOST)
        assert await subject.ack(Ack.complete(holder), by=other) is Acked.ACKED


class TestHolds(Requirements):
    """Replace of a running task: the replaced run is a hold until its ack or its lease's end."""

    async def replaced(self, subject: Subject) -> Claim:
        claim = await subject.running()
        answer = await subject.replace("key", "newer")
        assert (answer.generation, answer.state) == (2, State.QUEUED)
        return claim

    async def test_hold_is_seen_beside_the_newer(self, subject: Subject) -> None:
        """`replace` on a running one makes the newer generation pending and the running one a hold."""
        claim = await self.replaced(subject)
        record = await subject.record()
        assert record is not None
        assert record.hold is not None
        assert record.live is not None
        assert record.last is None
        hold = record.hold
        assert (hold.run, hold.token, hold.generation, hold.delivery) == (claim.run, claim.token, 1, 1)
        assert (hold.worker, hold.started_at, hold.lease_until) == ("worker", claim.claimed_at, claim.lease_until)
        assert (record.live.state, record.live.function, record.live.generation) == (State.QUEUED, "newer", 2)

    async def test_newer_waits_for_the_holds_ack(self, subject: Subject) -> None:
        """No claim grants the newer before the hold's ack; the ack answers SUPERSEDED and writes nothing else."""
        for shape in range(5):
            hold = await self.replaced(subject)
            assert await subject.claim() == []
            ack = (
                Ack.complete(hold, b"old"),
                Ack.fail(hold, "old", successor=subject.task("key")),
                Ack.retry(hold, attempt=2),
                Ack.park(hold, slot(hold, Gate("gate", 1))),
                Ack.release(hold),
            )[shape]
            assert await subject.ack(ack) is Acked.SUPERSEDED
            assert await subject.ack(ack) is Acked.SUPERSEDED
            record = await subject.record()
            assert record is not None
            assert (record.hold, record.last) == (None, None)
            newer = await subject.take("key")
            assert (newer.function, newer.delivery) == ("newer", 1)
            assert await subject.ack(ack) is Acked.SUPERSEDED
            assert await subject.state() is State.RUNNING
            await subject.end(newer)
            await subject.advance(subject.retention)

    async def test_newer_waits_for_the_holds_lease_end(self, subject: Subject) -> None:
        """No claim grants the newer before the hold's lease end, whatever functions are asked for."""
        hold = await self.replaced(subject)
        claimed = await subject.backend.claim("worker", {"newer"}, 1, LEASE)
        assert list(claimed.claims) == []
        assert_leads_to(claimed, hold.lease_until)
        await subject.advance(LEASE)
        [newer] = await subject.claim(functions={"newer"})
        assert (newer.key, newer.generation, newer.delivery) == ("key", 2, 1)
        assert await subject.ack(Ack.complete(hold)) is Acked.SUPERSEDED
        assert await subject.state() is State.RUNNING

    async def test_hold_is_renewed(self, subject: Subject) -> None:
        """A hold is renewed, and keeps the key for it."""
        hold = await self.replaced(subject)
        await subject.advance(LEASE - SECOND)
        assert list(await subject.backend.renew([hold], LEASE)) == [Renewal.RENEWED]
        await subject.advance(LEASE - SECOND)
        assert await subject.claim() == []
        await subject.advance(SECOND)
        await subject.take("key")
        assert list(await subject.backend.renew([hold], LEASE)) == [Renewal.LOST]

    async def test_hold_writes_no_progress(self, subject: Subject) -> None:
        """Its progress answers SUPERSEDED and writes nothing."""
        hold = await self.replaced(subject)
        before = await subject.record()
        answers = await subject.backend.progress([ProgressUpdate(hold, 1, 2, "old")])
        assert list(answers) == [ProgressReply.SUPERSEDED]
        assert await subject.record() == before

    async def test_hold_takes_and_gives_no_permit(self, subject: Subject) -> None:
        """No permit changes with a token that is not current."""
        claim = await subject.running()
        assert (await subject.acquire(slot(claim, Gate("gate", 1)))).status is PermitStatus.GRANTED
        await subject.replace("key", "newer")
        assert (await subject.acquire(slot(claim, Gate("other", 1)))).status is PermitStatus.LOST
        assert list(await subject.backend.release([slot(claim, Gate("gate", 1))])) == [Released.LOST]
        other = await subject.running("other")
        assert (await subject.acquire(slot(other, Gate("gate", 1)))).status is PermitStatus.DENIED

    async def test_repeated_add_of_a_hold_changes_nothing(self, subject: Subject) -> None:
        """An add or replace whose run is a hold by now answers as the first time and changes nothing."""
        first = subject.task("key")
        [added] = await subject.backend.enqueue([first])
        hold = await subject.take("key")
        await subject.replace("key", "newer")
        before = await subject.record()
        for on_conflict in OnConflict:
            for add in (subject.backend.enqueue, subject.backend.schedule):
                [again] = await add([first], on_conflict)
                assert (again.status, again.run, again.generation) == (EnqueueStatus.ACCEPTED, first.run, 1)
                assert again.when == added.when
        assert await subject.record() == before
        assert await subject.ack(Ack.complete(hold)) is Acked.SUPERSEDED
        assert (await subject.take("key")).function == "newer"

    async def test_repeated_replace_changes_nothing(self, subject: Subject) -> None:
        """A replace of a running one that is repeated answers as the first time; the hold stays the hold."""
        hold = await subject.running()
        newer = subject.task("key", "newer")
        [first] = await subject.backend.enqueue([newer], OnConflict.REPLACE)
        before = await subject.record()
        for on_conflict in OnConflict:
            assert list(await subject.backend.enqueue([newer], on_conflict)) == [first]
        assert await subject.record() == before
        assert await subject.claim() == []
        assert await subject.ack(Ack.complete(hold)) is Acked.SUPERSEDED
        claim = await subject.take("key")
        assert (claim.run, claim.generation) == (newer.run, 2)

    async def test_replaced_again_the_hold_stays(self, subject: Subject) -> None:
        """A pending newer one is overwritten by a newest; the hold is still the first."""
        hold = await self.replaced(subject)
        newest = await subject.replace("key", "newest")
        assert newest.generation == 3
        assert await subject.claim() == []
        assert await subject.ack(Ack.complete(hold)) is Acked.SUPERSEDED
        assert (await subject.take("key")).function == "newest"

    async def test_replaced_by_something_later(self, subject: Subject) -> None:
        """The newer keeps its own time once the hold has ended."""
        hold = await subject.running()
        await subject.backend.schedule([subject.task("key", delay=2 * SECOND)], OnConflict.REPLACE)
        assert await subject.ack(Ack.complete(hold)) is Acked.SUPERSEDED
        assert await subject.claim() == []
        await subject.advance(2 * SECOND)
        assert (await subject.take("key")).generation == 2

    async def test_lapsed_run_is_no_hold(self, subject: Subject) -> None:
        """A replaced run whose lease had run out keeps nothing."""
        lapsed = await subject.running()
        await subject.advance(LEASE)
        await subject.replace("key", "newer")
        newer = await subject.take("key")
        assert newer.function == "newer"
        assert await subject.ack(Ack.complete(lapsed)) is Acked.SUPERSEDED
        await subject.end(newer)
