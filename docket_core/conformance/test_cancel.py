"""Cancel: of what is pending, of what runs, of what has ended; and what a requested one makes of an ack."""

import asyncio

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, CancelReply, Gate, Renewal
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, slot, started


async def cancelled(subject: Subject, key: str = "key") -> CancelReply:
    [answer] = await subject.backend.cancel([key])
    return answer


class TestCancel(Requirements):
    async def test_pending_ends_at_once(self, subject: Subject) -> None:
        """pending -> CANCELLED, key free at once: scheduled, queued and parked."""
        gate = Gate("gate", 1)
        await subject.acquire(slot(await subject.running("holder"), gate))
        await subject.parked("parked", gate)
        await subject.later("scheduled")
        await subject.add("queued")
        for key in ("parked", "scheduled", "queued"):
            assert await cancelled(subject, key) is CancelReply.CANCELLED
            assert await subject.state(key) is State.CANCELLED
        assert await subject.claim() == []
        await subject.advance(3600 * SECOND)
        assert {claim.key for claim in await subject.claim()} == {"holder"}

    async def test_running_is_asked_to_stop(self, subject: Subject) -> None:
        """Running -> `cancel_requested`, still RUNNING, key still held; told surely at its next renewal."""
        claim = await subject.running()
        assert await cancelled(subject) is CancelReply.REQUESTED
        assert await cancelled(subject) is CancelReply.REQUESTED
        record = await subject.record()
        assert record is not None
        assert record.live is not None
        assert (record.live.state, record.live.cancel_requested) == (State.RUNNING, True)
        assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.CANCEL]
        [answer] = await subject.backend.enqueue([subject.task("key")])
        assert answer.run == claim.run

    async def test_nothing_live_is_gone(self, subject: Subject) -> None:
        """There is nothing live under that key: GONE. No terminal state is ever overwritten."""
        assert await cancelled(subject, "unknown") is CancelReply.GONE
        for key, ack in (("done", Ack.complete), ("dropped", Ack.cancel)):
            await subject.ack(ack(await subject.running(key)))
        await subject.ack(Ack.fail(await subject.running("failed"), "error"))
        before = [await subject.record(key) for key in ("done", "dropped", "failed")]
        answers = await subject.backend.cancel(["done", "dropped", "failed"])
        assert list(answers) == [CancelReply.GONE] * 3
        assert [await subject.record(key) for key in ("done", "dropped", "failed")] == before

    async def test_ack_decides_once(self, subject: Subject) -> None:
        """Its ack decides: complete, fail and cancel give their own state; a successor is dropped."""
        for state in (State.COMPLETED, State.FAILED, State.CANCELLED):
            claim = await subject.running()
            await cancelled(subject)
            successor = subject.task("key")
            acks = {
                State.COMPLETED: Ack.complete(claim, b"result", successor=successor),
                State.FAILED: Ack.fail(claim, "error", successor=successor),
                State.CANCELLED: Ack.cancel(claim, successor=successor),
            }
            assert await subject.ack(acks[state]) is Acked.ACKED
            record = await subject.record()
            assert record is not None
            assert record.live is None
            assert record.last is not None
            assert record.last.state is state
            assert await subject.claim() == []

    async def test_going_on_ends_cancelled(self, subject: Subject) -> None:
        """release, retry, postpone and park end CANCELLED."""
        for number in range(4):
            claim = await subject.running()
            await cancelled(subject)
            ack = (
                Ack.release(claim),
                Ack.retry(claim, attempt=2),
                Ack.postpone(claim),
                Ack.park(claim, slot(claim, Gate("gate", 1))),
            )[number]
            assert await subject.ack(ack) is Acked.ACKED
            record = await subject.record()
            assert record is not None
            assert record.live is None
            assert record.last is not None
            assert record.last.state is State.CANCELLED
            await subject.advance(3600 * SECOND)
            assert await subject.claim() == []

    async def test_lapsed_ends_without_another_run(self, subject: Subject) -> None:
        """A lapsed one ends CANCELLED without another run; any claim, whatever functions it asks for, ends it."""
        claim = await subject.running()
        await cancelled(subject)
        claimed = await subject.backend.claim("worker", {"other"}, 0, LEASE)
        assert list(claimed.ended) == []
        await subject.advance(LEASE)
        claimed = await subject.backend.claim("worker", {"other"}, 0, LEASE)
        assert [(ended.key, ended.run, ended.state) for ended in claimed.ended] == [("key", claim.run, State.CANCELLED)]
        assert await subject.state() is State.CANCELLED
        assert await subject.ack(Ack.complete(claim)) is Acked.LOST
        assert await subject.state() is State.CANCELLED

    async def test_cancel_after_the_lease_ran_out(self, subject: Subject) -> None:
        """A lapsed task is asked like a running one, and is not granted again."""
        await subject.running()
        await subject.advance(LEASE)
        assert await cancelled(subject) is CancelReply.REQUESTED
        assert await subject.claim() == []
        assert await subject.state() is State.CANCELLED

    async def test_renewed_while_stopping(self, subject: Subject) -> None:
        """CANCEL: renewed, and the task's cancel is requested; the key is held until its ack."""
        claim = await subject.running()
        await cancelled(subject)
        for _ in range(3):
            await subject.advance(LEASE - SECOND)
            assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.CANCEL]
            assert await subject.claim() == []
        assert await subject.ack(Ack.complete(claim)) is Acked.ACKED
        assert await subject.state() is State.COMPLETED

    async def test_a_hold_with_a_newer_pending(self, subject: Subject) -> None:
        """With a hold: a pending newer one is cancelled and the hold asked to stop, answered CANCELLED."""
        hold = await subject.running()
        newer = await subject.replace("key")
        assert await cancelled(subject) is CancelReply.CANCELLED
        record = await subject.record()
        assert record is not None
        assert record.live is None
        assert record.last is not None
        assert (record.last.run, record.last.state) == (newer.run, State.CANCELLED)
        assert record.hold is not None
        assert record.hold.cancel_requested
        assert list(await subject.backend.renew([hold], LEASE)) == [Renewal.CANCEL]
        assert await cancelled(subject) is CancelReply.REQUESTED
        await subject.add("key")
        assert await subject.claim() == []
        assert await subject.ack(Ack.complete(hold)) is Acked.SUPERSEDED
        await subject.take("key")

    async def test_then_add_at_once(self, subject: Subject) -> None:
        """Cancel then add at once: the newer is not cancelled."""
        await subject.later("key")
        await cancelled(subject)
        await subject.add("key")
        claim = await subject.take("key")
        assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.RENEWED]

    async def test_retried_task_is_pending(self, subject: Subject) -> None:
        """What waits for its retry is pending, and ends at once."""
        claim = await subject.running()
        await subject.ack(Ack.retry(claim, attempt=2, delay=SECOND))
        assert await cancelled(subject) is CancelReply.CANCELLED
        await subject.advance(SECOND)
        assert await subject.claim() == []
        assert await subject.ack(Ack.complete(claim)) is Acked.ACKED
        assert await subject.state() is State.CANCELLED

    async def test_racing_a_claim(self, subject: Subject) -> None:
        """Cancel racing claim: either it was cancelled and nobody got it, or somebody has it and is asked to stop."""
        other = await subject.another()
        keys = [f"key-{number}" for number in range(20)]
        await subject.add(*keys)
        cancelling = started(subject.backend.cancel(keys))
        portions = await asyncio.gather(*(subject.claim(5, by=other) for _ in range(4)))
        answers = await cancelling
        claims = {claim.key: claim for portion in portions for claim in portion}
        for key, answer in zip(keys, answers, strict=True):
            assert (key in claims) is (answer is CancelReply.REQUESTED)
            if key in claims:
                assert list(await other.renew([claims[key]], LEASE)) == [Renewal.CANCEL]

    async def test_a_lapsed_hold_is_asked_no_more(self, subject: Subject) -> None:
        """A hold whose lease has run out is gone, whether a claim has come by or not."""
        await subject.running()
        await subject.replace("key")
        assert list(await subject.backend.cancel(["key"])) == [CancelReply.CANCELLED]
        await subject.advance(LEASE)
        assert list(await subject.backend.cancel(["key"])) == [CancelReply.GONE]
