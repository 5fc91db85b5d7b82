"""Leases: renewal, lapse and takeover."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Gate, PermitStatus, ProgressReply, ProgressUpdate, Renewal
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, assert_leads_to, slot


class TestLeases(Requirements):
    async def test_renewed_lease_is_not_taken_over(self, subject: Subject) -> None:
        """Body five leases long, renewed: one run."""
        other = await subject.another()
        claim = await subject.running()
        for _ in range(10):
            await subject.advance(LEASE // 2)
            assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.RENEWED]
            assert await subject.claim(by=other) == []
        await subject.end(claim)

    async def test_renewal_counts_from_now(self, subject: Subject) -> None:
        """Make leases end `lease` from now."""
        claim = await subject.running()
        await subject.advance(SECOND)
        await subject.backend.renew([claim], 5 * SECOND)
        record = await subject.record()
        assert record is not None
        assert record.live is not None
        assert record.live.lease_until == subject.now + 5 * SECOND
        claimed = await subject.backend.claim("other", None, 1, LEASE)
        assert_leads_to(claimed, subject.now + 5 * SECOND)
        await subject.advance(5 * SECOND)
        assert (await subject.take("key")).delivery == 2

    async def test_lease_ends_at_its_end(self, subject: Subject) -> None:
        """The intervals [claim, lease end] of one key never overlap: a lease ends at its end, not before."""
        step = max(subject.backend.capabilities.time_resolution, 1)
        await subject.running(lease=5 * SECOND)
        await subject.advance(5 * SECOND - step)
        assert await subject.claim() == []
        await subject.advance(step)
        assert (await subject.take("key")).delivery == 2

    async def test_lapsed_lease_cannot_be_renewed(self, subject: Subject) -> None:
        """A lapsed lease is LOST, though nobody has taken the task yet."""
        claim = await subject.running()
        await subject.advance(LEASE)
        assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.LOST]
        assert (await subject.take("key", worker="other")).delivery == 2

    async def test_lapsed_lease_takes_no_permit(self, subject: Subject) -> None:
        """A lapsed lease takes no permit: LOST; its progress is still accepted."""
        claim = await subject.running()
        await subject.advance(LEASE)
        assert (await subject.acquire(slot(claim, Gate("gate", 1)))).status is PermitStatus.LOST
        assert list(await subject.backend.progress([ProgressUpdate(claim, 1)])) == [ProgressReply.RECORDED]

    async def test_lapsed_task_reads_as_running(self, subject: Subject) -> None:
        """Its lease has run out, and no claim has taken it over yet: a reader sees RUNNING."""
        await subject.running()
        await subject.advance(LEASE + SECOND)
        assert await subject.state() is State.RUNNING

    async def test_takeover_is_a_redelivery(self, subject: Subject) -> None:
        """Never +1 of generation at redelivery; the delivery is counted at claim, so a crash counts."""
        zombie, holder = await subject.taken_over()
        assert (zombie.generation, holder.generation) == (1, 1)
        assert (zombie.delivery, holder.delivery) == (1, 2)
        assert (zombie.attempt, holder.attempt) == (1, 1)
        assert zombie.run == holder.run
        assert holder.token > zombie.token
        record = await subject.record()
        assert record is not None
        assert record.live is not None
        assert (record.live.worker, record.live.token) == ("other", holder.token)
        assert record.live.lease_until == holder.lease_until == subject.now + LEASE

    async def test_takeover_respects_functions(self, subject: Subject) -> None:
        """A lapsed task of another function stays for a worker that has it."""
        await subject.running()
        await subject.advance(LEASE)
        assert await subject.claim(functions={"other"}) == []
        assert [claim.key for claim in await subject.claim(functions={"work"})] == ["key"]

    async def test_renewals_are_answered_in_place(self, subject: Subject) -> None:
        """Replies are positional, one per item."""
        a, b, c = [await subject.running(key) for key in "abc"]
        await subject.end(b)
        await subject.backend.cancel(["c"])
        answers = await subject.backend.renew([c, b, a, a._replace(key="nobody's")], LEASE)
        assert list(answers) == [Renewal.CANCEL, Renewal.LOST, Renewal.RENEWED, Renewal.LOST]

    async def test_retiring_a_worker_leaves_its_claims(self, subject: Subject) -> None:
        """Say that a worker has ended. Its claims are not touched."""
        claim = await subject.running()
        await subject.backend.heartbeat("worker", {"work"}, LEASE)
        await subject.backend.retire("worker")
        assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.RENEWED]
