"""Retention: how long an outcome is kept, and that nothing is kept longer than it is needed."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import (
    Ack,
    Acked,
    EnqueueStatus,
    Gate,
    OnConflict,
    PermitStatus,
    ProgressReply,
    ProgressUpdate,
)
from docket_core.backend.protocol import Backend
from docket_core.backend.states import LIVE, TERMINAL, State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, RETENTION, Subject, slot, turn


async def pruned(backend: Backend, limit: int = 100) -> int:
    """Prune until nothing is left to remove; how many that were."""
    total = 0
    for _ in range(1000):
        removed = await backend.prune(limit)
        assert 0 <= removed <= limit
        total += removed
        if removed < limit:
            return total
    raise AssertionError("prune never answers fewer than its limit")


class TestRetention(Requirements):
    async def test_kept_for_the_retention(self, subject: Subject) -> None:
        """Visible as long as its retention lasts; then absent, pruned or not."""
        step = max(subject.backend.capabilities.time_resolution, 1)
        await subject.end(await subject.running())
        await subject.advance(RETENTION - step)
        await subject.backend.prune(100)
        assert await subject.state() is State.COMPLETED
        await subject.advance(step)
        assert await subject.record() is None
        assert list((await subject.backend.scan(TERMINAL, 10)).records) == []
        assert await pruned(subject.backend) == 1
        assert await subject.record() is None

    async def test_released_is_absent_to_adds(self, subject: Subject) -> None:
        """Readers, adds and acks treat what retention has released as absent: the very run may be added again."""
        task = subject.task("key")
        await subject.backend.enqueue([task])
        claim = await subject.take("key")
        await subject.end(claim)
        await subject.advance(RETENTION)
        [answer] = await subject.backend.enqueue([task])
        assert (answer.status, answer.state) == (EnqueueStatus.ACCEPTED, State.QUEUED)
        assert answer.generation in (1, 2)
        await subject.take("key")

    async def test_last_part_goes_while_the_key_lives_on(self, subject: Subject) -> None:
        """Only the last part is released; the live part and its run stay."""
        await subject.end(await subject.running())
        await subject.later("key")
        await subject.advance(RETENTION)
        await pruned(subject.backend)
        record = await subject.record()
        assert record is not None
        assert record.last is None
        assert record.live is not None
        assert record.live.generation == 2

    async def test_reused_key_is_kept_as_long_as_a_new_one(self, subject: Subject) -> None:
        """Key reused during retention: its record lives as long as a new one's."""
        await subject.end(await subject.running())
        await subject.advance(RETENTION - SECOND)
        await subject.ack(Ack.complete(await subject.running(), b"second"))
        await subject.advance(RETENTION - SECOND)
        await pruned(subject.backend)
        record = await subject.record()
        assert record is not None
        assert record.last is not None
        assert (record.last.result, record.last.expires_at) == (b"second", subject.now + SECOND)

    async def test_zero_forgets_at_the_ack(self, subject: Subject) -> None:
        """With retention 0 a terminal state is forgotten at once."""
        backend = await subject.fresh(retention=0)
        await backend.enqueue([subject.task("key"), subject.task("cancelled")])
        await backend.cancel(["cancelled"])
        claim = await subject.take("key", by=backend)
        assert await subject.ack(Ack.complete(claim, b"result"), backend) is Acked.ACKED
        assert list(await backend.get(["key", "cancelled"])) == [None, None]
        assert await subject.ack(Ack.complete(claim), backend) is Acked.GONE
        assert list(await backend.progress([ProgressUpdate(claim, 1)])) == [ProgressReply.GONE]

    async def test_zero_keeps_the_successor(self, subject: Subject) -> None:
        """With retention 0 a chain goes on all the same: generation + 1."""
        backend = await subject.fresh(retention=0)
        await backend.enqueue([subject.task("key")])
        claim = await subject.take("key", by=backend)
        await subject.ack(Ack.complete(claim, successor=subject.task("key")), backend)
        record = await subject.record(by=backend)
        assert record is not None
        assert record.last is None
        assert (await subject.take("key", by=backend)).generation == 2

    async def test_zero_and_a_hold(self, subject: Subject) -> None:
        """With retention 0 a cancelled newer one leaves the hold, which still keeps the key."""
        backend = await subject.fresh(retention=0)
        await backend.enqueue([subject.task("key")])
        hold = await subject.take("key", by=backend)
        task = subject.task("key")
        await backend.enqueue([task], OnConflict.REPLACE)
        await backend.cancel(["key"])
        await backend.enqueue([subject.task("key")])
        assert await subject.claim(by=backend) == []
        assert await subject.ack(Ack.complete(hold), backend) is Acked.SUPERSEDED
        await subject.take("key", by=backend)


class TestPrune(Requirements):
    async def test_in_portions(self, subject: Subject) -> None:
        """Remove up to `limit`; fewer than `limit` means that nothing is left to remove."""
        keys = [f"key-{number}" for number in range(7)]
        await subject.add(*keys)
        await subject.backend.ack([Ack.complete(claim) for claim in await subject.claim()])
        await subject.later("stays", delay=2 * RETENTION)
        await subject.advance(RETENTION)
        assert [await subject.backend.prune(3) for _ in range(3)] == [3, 3, 1]
        assert await subject.backend.prune(3) == 0
        assert await subject.state("stays") is State.SCHEDULED

    async def test_ends_lapsed_cancels_and_holds(self, subject: Subject) -> None:
        """`prune` ends lapsed tasks whose cancel was requested, and lapsed holds."""
        await subject.running("cancelled")
        await subject.backend.cancel(["cancelled"])
        await subject.running("held")
        await subject.replace("held")
        await subject.advance(LEASE)
        await pruned(subject.backend)
        assert await subject.state("cancelled") is State.CANCELLED
        await subject.take("held")

    async def test_takes_nothing_that_is_needed(self, subject: Subject) -> None:
        """Only what nobody needs any more: tasks, unexpired permits and living workers stay."""
        claim = await subject.running()
        await subject.acquire(turn(claim, Gate("gate", 1), 60 * SECOND))
        await subject.backend.heartbeat("worker", {"work"}, 60 * SECOND)
        await subject.backend.strike("rule", b"instruction")
        await subject.add("queued")
        await subject.later("scheduled")
        before = await subject.backend.get(["key", "queued", "scheduled"])
        assert await pruned(subject.backend) == 0
        assert list(await subject.backend.get(["key", "queued", "scheduled"])) == list(before)
        other = await subject.take("queued")
        assert (await subject.acquire(turn(other, Gate("gate", 1), SECOND))).status is PermitStatus.DENIED
        assert [record.name for record in await subject.backend.workers()] == ["worker"]

    async def test_in_the_end_nothing_is_left(self, subject: Subject) -> None:
        """After all work is done and retention is over, the store is as empty as before."""
        gate = Gate("gate", 1)
        a = await subject.running("a")
        await subject.acquire(slot(a, gate))
        await subject.parked("b", gate)
        await subject.end(a)
        b = await subject.take("b")
        await subject.acquire(turn(b, Gate("rate", 1), 60 * SECOND))
        await subject.ack(Ack.fail(b, "error", successor=subject.task("b", delay=SECOND)))
        hold = await subject.running("c")
        await subject.replace("c")
        await subject.ack(Ack.complete(hold))
        await subject.end(await subject.take("c"))
        await subject.backend.heartbeat("worker", {"work"}, SECOND)
        await subject.backend.strike("rule", b"instruction")
        await subject.backend.strike("rule", None)
        await subject.backend.clear()
        await subject.advance(2 * RETENTION)
        assert await pruned(subject.backend) > 0
        assert await pruned(subject.backend) == 0
        assert list((await subject.backend.scan(LIVE | TERMINAL, 10)).records) == []
        assert list(await subject.backend.counts()) == []
        assert list(await subject.backend.workers()) == []
        claimed = await subject.backend.claim("worker", None, 10, LEASE)
        assert (list(claimed.claims), claimed.next_at) == ([], None)
