"""Recovery after a worker's death: back-off, poison, bounded sweeps."""

from docket_core.backend.clock import SECOND, Micros
from docket_core.backend.model import Ack, Acked, Claim
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject


class TestRecovery(Requirements):
    async def test_first_recovery_is_not_delayed(self, subject: Subject) -> None:
        """The first recovery of a generation is not delayed."""
        await subject.running()
        await subject.advance(LEASE)
        await subject.take("key")

    async def test_later_recoveries_wait(self, subject: Subject) -> None:
        """The nth recovery waits 2^(n-2) seconds after the lease's end, at most 60."""
        await subject.running()
        await subject.advance(LEASE)
        claim = await subject.take("key")
        for pause in (1, 2, 4, 8, 16, 32, 60, 60):
            await subject.advance(LEASE + pause * SECOND - SECOND // 2)
            assert await subject.claim() == []
            await subject.advance(SECOND // 2)
            again = await subject.take("key")
            assert again.delivery == claim.delivery + 1
            claim = again

    async def test_next_at_tells_of_the_recovery(self, subject: Subject) -> None:
        """`next_at` leads to the recovery, step by step if need be."""
        await subject.running()
        await subject.advance(LEASE)
        await subject.take("key")
        await subject.advance(LEASE)
        due = subject.now + SECOND
        claimed = await subject.backend.claim("worker", None, 1, LEASE)
        assert list(claimed.claims) == []
        assert claimed.next_at is not None
        assert claimed.next_at <= due

    async def test_a_new_generation_starts_from_one(self, subject: Subject) -> None:
        """`delivery` counts grants of this generation: after a retry the first recovery is not delayed again."""
        _, holder = await subject.taken_over()
        await subject.ack(Ack.retry(holder, attempt=2))
        await subject.take("key")
        await subject.advance(LEASE)
        assert (await subject.take("key")).delivery == 2

    async def test_recovery_in_portions_loses_nothing(self, subject: Subject) -> None:
        """A whole fleet killed: the sweep is bounded per call, and every task is run again."""
        keys = [f"key-{number:03}" for number in range(120)]
        await subject.add(*keys)
        await subject.claim(200)
        await subject.advance(LEASE)
        again: list[Claim] = []
        while portion := await subject.claim(50):
            again += portion
        assert sorted(claim.key for claim in again) == keys
        assert {claim.delivery for claim in again} == {2}


class TestPoison(Requirements):
    async def crash(self, subject: Subject, times: int) -> Claim:
        """Be granted, and die, so many times."""
        pause: Micros = 0
        claim = await subject.running()
        for _ in range(times - 1):
            await subject.advance(LEASE + pause)
            [claim] = await subject.claim(max_deliveries=times)
            pause = pause * 2 or SECOND
        await subject.advance(LEASE + pause)
        return claim

    async def test_too_often_granted_is_failed(self, subject: Subject) -> None:
        """An expired task with `max_deliveries` grants behind it ends FAILED, reason "poison", payload kept."""
        claim = await self.crash(subject, 3)
        claimed = await subject.backend.claim("worker", {"work"}, 1, LEASE, 3)
        assert list(claimed.claims) == []
        [ended] = claimed.ended
        assert ended[:5] == ("key", "work", claim.run, State.FAILED, "poison")
        record = await subject.record()
        assert record is not None
        assert record.live is None
        assert record.last is not None
        last = record.last
        assert (last.state, last.reason, last.delivery, last.payload) == (State.FAILED, "poison", 3, b"payload")
        assert await subject.ack(Ack.complete(claim)) is Acked.LOST

    async def test_below_the_bound_it_is_granted(self, subject: Subject) -> None:
        """It is granted `max_deliveries` times, not fewer; None: no bound."""
        await self.crash(subject, 3)
        assert (await subject.claim(max_deliveries=4))[0].delivery == 4
        await subject.advance(LEASE + 4 * SECOND)
        assert (await subject.claim(max_deliveries=None))[0].delivery == 5

    async def test_the_others_go_on(self, subject: Subject) -> None:
        """A task whose body kills its process ends; the other tasks go on, in the same claim."""
        await self.crash(subject, 2)
        await subject.add("other")
        assert [claim.key for claim in await subject.claim(1, max_deliveries=2)] == ["other"]
        assert await subject.state() is State.FAILED

    async def test_poisoned_can_be_listed_and_run_again(self, subject: Subject) -> None:
        """It can be listed and run again: its key is free at once."""
        await self.crash(subject, 2)
        await subject.claim(max_deliveries=2)
        page = await subject.backend.scan({State.FAILED}, 10)
        assert [record.key for record in page.records] == ["key"]
        await subject.add("key")
        assert (await subject.take("key")).delivery == 1

    async def test_released_deliveries_are_no_crashes(self, subject: Subject) -> None:
        """release: this delivery is not counted, so no shutdown ever poisons a task."""
        await subject.add("key")
        for _ in range(5):
            [claim] = await subject.claim(max_deliveries=2)
            assert claim.delivery == 1
            await subject.ack(Ack.release(claim))
        assert await subject.state() is State.QUEUED
