"""Acks: every shape, and what they answer."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked
from docket_core.backend.records import Last
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, RETENTION, Subject


class TestEnds(Requirements):
    async def test_complete_writes_the_result(self, subject: Subject) -> None:
        """End claims: one transition each, with the result in the same step. Results are written by the ack."""
        task = subject.task("key", payload=b"p", headers=b"h", attempt=2)
        await subject.backend.enqueue([task])
        began = subject.now
        claim = await subject.take("key", worker="me")
        await subject.advance(SECOND)
        assert await subject.ack(Ack.complete(claim, b"\x00result")) is Acked.ACKED
        record = await subject.record(by=await subject.another())
        assert record is not None
        assert record.live is None
        assert record.last == Last(
            *(State.COMPLETED, "work", b"p", b"h", task.run, 1, 2, 1, began, "me", began),
            completed_at=began + SECOND,
            expires_at=began + SECOND + RETENTION,
            result=b"\x00result",
        )

    async def test_fail_writes_the_error(self, subject: Subject) -> None:
        """It raised. `error` is text for people, `result` the encoded exception."""
        claim = await subject.running()
        error = 'ValueError: "ünïcode" \u202e \n\tat line 1'
        assert await subject.ack(Ack.fail(claim, error, b"exc", reason="undecodable")) is Acked.ACKED
        record = await subject.record()
        assert record is not None
        assert record.last is not None
        last = record.last
        assert (last.state, last.error, last.result, last.reason) == (State.FAILED, error, b"exc", "undecodable")

    async def test_cancel_writes_the_reason(self, subject: Subject) -> None:
        """It was stopped, or was denied and is dropped."""
        claim = await subject.running()
        assert await subject.ack(Ack.cancel(claim, "cooldown")) is Acked.ACKED
        record = await subject.record()
        assert record is not None
        assert record.last is not None
        assert (record.last.state, record.last.reason, record.last.result) == (State.CANCELLED, "cooldown", None)

    async def test_no_result_is_told_from_an_empty_one(self, subject: Subject) -> None:
        """A result is opaque bytes; none is None."""
        for key, result in (("none", None), ("empty", b"")):
            await subject.ack(Ack.complete(await subject.running(key), result))
            record = await subject.record(key)
            assert record is not None
            assert record.last is not None
            assert record.last.result == result

    async def test_ended_is_never_claimed_again(self, subject: Subject) -> None:
        """After its end a run is never granted again, however late."""
        for key, ack in (("a", Ack.complete), ("c", Ack.cancel)):
            await subject.ack(ack(await subject.running(key)))
        await subject.ack(Ack.fail(await subject.running("f"), "error"))
        await subject.advance(10 * LEASE)
        assert await subject.claim() == []

    async def test_repeated_ack_changes_nothing(self, subject: Subject) -> None:
        """The token is the last one acked, ACKED: a repeated ack changes nothing, whatever its shape."""
        claim = await subject.running()
        await subject.ack(Ack.complete(claim, b"first"))
        before = await subject.record()
        await subject.advance(SECOND)
        for again in (Ack.complete(claim, b"2"), Ack.fail(claim, "e"), Ack.retry(claim, attempt=2), Ack.release(claim)):
            assert await subject.ack(again) is Acked.ACKED
        assert await subject.record() == before
        assert await subject.claim() == []

    async def test_repeated_ack_of_a_retry_changes_nothing(self, subject: Subject) -> None:
        """A repeated ack changes nothing also while the key goes on."""
        claim = await subject.running()
        await subject.ack(Ack.retry(claim, attempt=2, delay=SECOND))
        before = await subject.record()
        assert await subject.ack(Ack.retry(claim, attempt=3, delay=9 * SECOND)) is Acked.ACKED
        assert await subject.ack(Ack.complete(claim)) is Acked.ACKED
        assert await subject.record() == before

    async def test_ack_of_what_is_not_kept_is_gone(self, subject: Subject) -> None:
        """Nothing of the key kept: GONE."""
        claim = await subject.running()
        await subject.end(claim)
        await subject.advance(RETENTION)
        assert await subject.ack(Ack.complete(claim)) is Acked.GONE
        assert await subject.record() is None

    async def test_lapsed_lease_is_still_acked(self, subject: Subject) -> None:
        """A lapsed lease that nobody took over is still acked."""
        claim = await subject.running()
        await subject.advance(LEASE + SECOND)
        assert await subject.ack(Ack.complete(claim, b"late")) is Acked.ACKED
        assert await subject.state() is State.COMPLETED
        assert await subject.claim() == []

    async def test_acks_of_a_batch_are_answered_in_place(self, subject: Subject) -> None:
        """Replies are positional; one bad item never fails its neighbours."""
        a, b = await subject.running("a"), await subject.running("b")
        stranger = a._replace(key="stranger")
        answers = await subject.backend.ack(
            [Ack.complete(a), Ack.complete(stranger), Ack.fail(a, "again"), Ack.fail(b, "error")]
        )
        assert list(answers) == [Acked.ACKED, Acked.GONE, Acked.ACKED, Acked.ACKED]
        assert await subject.states("a", "b", "stranger") == [State.COMPLETED, State.FAILED, None]


class TestSuccessors(Requirements):
    async def test_retry_is_the_next_generation_of_the_same_run(self, subject: Subject) -> None:
        """retry: generation + 1, `attempt` as given, delivery 0; the run stays."""
        claim = await subject.running()
        assert await subject.ack(Ack.retry(claim, attempt=2, delay=SECOND)) is Acked.ACKED
        record = await subject.record()
        assert record is not None
        assert record.last is None
        live = record.live
        assert live is not None
        assert (live.state, live.run, live.generation, live.attempt) == (State.SCHEDULED, claim.run, 2, 2)
        assert (live.delivery, live.when, live.token) == (0, subject.now + SECOND, None)
        assert await subject.claim() == []
        await subject.advance(SECOND)
        again = await subject.take("key")
        assert (again.generation, again.delivery, again.attempt) == (2, 1, 2)
        assert (again.payload, again.run) == (claim.payload, claim.run)
        assert again.token > claim.token

    async def test_retry_at_once(self, subject: Subject) -> None:
        """Without a delay or a moment the next generation is ready now."""
        await subject.ack(Ack.retry(await subject.running(), attempt=2))
        assert await subject.state() is State.QUEUED
        await subject.take("key")

    async def test_postpone_keeps_the_attempt(self, subject: Subject) -> None:
        """postpone: as `retry`, with the attempt as it was."""
        await subject.backend.enqueue([subject.task("key", attempt=3)])
        claim = await subject.take("key")
        assert await subject.ack(Ack.postpone(claim, when=subject.now + SECOND)) is Acked.ACKED
        await subject.advance(SECOND)
        again = await subject.take("key")
        assert (again.generation, again.attempt, again.delivery, again.run) == (2, 3, 1, claim.run)

    async def test_release_gives_it_back_unrun(self, subject: Subject) -> None:
        """release: the generation stays, this delivery is not counted, and it keeps its place."""
        claim = await subject.running("first")
        await subject.advance(SECOND)
        await subject.add("second")
        assert await subject.ack(Ack.release(claim)) is Acked.ACKED
        record = await subject.record("first")
        assert record is not None
        assert record.live is not None
        assert (record.live.generation, record.live.delivery) == (1, 0)
        [again] = await subject.claim(1)
        assert (again.key, again.generation, again.delivery) == ("first", 1, 1)
        assert again.token > claim.token

    async def test_what_is_given_back_keeps_its_place_among_those_of_its_batch(self, subject: Subject) -> None:
        """release: it keeps its place, among the tasks that became ready in the same moment too."""
        keys = [f"key {number}" for number in range(8)]
        await subject.backend.enqueue([subject.task(key) for key in keys])
        first = await subject.claim(4)
        assert [claim.key for claim in first] == keys[:4]
        await subject.backend.ack([Ack.release(claim) for claim in reversed(first)])
        assert [claim.key for claim in await subject.claim(8)] == keys

    async def test_release_of_a_redelivery_uncounts_one(self, subject: Subject) -> None:
        """A release does not count its delivery; those before stay counted."""
        _, second = await subject.taken_over()
        assert second.delivery == 2
        await subject.ack(Ack.release(second))
        assert (await subject.take("key")).delivery == 2

    async def test_end_and_successor_are_one_step(self, subject: Subject) -> None:
        """A chain goes on in the same step: generation + 1, a new run, delivery 0, and the end is kept beside it."""
        claim = await subject.running()
        for number, state in enumerate((State.COMPLETED, State.CANCELLED)):
            successor = subject.task("key", payload=b"%d" % number, delay=SECOND)
            completed = state is State.COMPLETED
            ack = Ack.complete(claim, successor=successor) if completed else Ack.cancel(claim, successor=successor)
            assert await subject.ack(ack) is Acked.ACKED
            record = await subject.record()
            assert record is not None
            assert record.live is not None
            assert record.last is not None
            assert (record.last.state, record.last.run) == (state, claim.run)
            assert (record.live.run, record.live.generation) == (successor.run, claim.generation + 1)
            assert (record.live.when, record.live.delivery) == (subject.now + SECOND, 0)
            await subject.advance(SECOND)
            claim = await subject.take("key")
            assert claim.payload == b"%d" % number

    async def test_failed_run_may_have_a_successor(self, subject: Subject) -> None:
        """fail, with `successor=`: a chain outlives a failing run."""
        claim = await subject.running()
        successor = subject.task("key")
        await subject.ack(Ack.fail(claim, "error", b"exc", successor=successor))
        record = await subject.record()
        assert record is not None
        assert record.last is not None
        assert (record.last.state, record.last.result) == (State.FAILED, b"exc")
        assert (await subject.take("key")).run == successor.run

    async def test_repeated_ack_makes_one_successor(self, subject: Subject) -> None:
        """Exactly one live successor per key, also when the ack is repeated."""
        claim = await subject.running()
        ack = Ack.complete(claim, successor=subject.task("key"))
        assert await subject.ack(ack) is Acked.ACKED
        assert await subject.ack(ack) is Acked.ACKED
        follower = await subject.take("key")
        assert await subject.ack(Ack.complete(claim, successor=subject.task("key"))) is Acked.ACKED
        await subject.end(follower)
        assert await subject.claim() == []

    async def test_key_is_kept_while_it_goes_on(self, subject: Subject) -> None:
        """A successor's key is taken: an add beside it changes nothing."""
        claim = await subject.running()
        successor = subject.task("key", delay=SECOND)
        await subject.ack(Ack.complete(claim, successor=successor))
        [answer] = await subject.backend.enqueue([subject.task("key")])
        assert answer.run == successor.run
