"""Limits: a store that is full by a limit of its own refuses what is new, and drains."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, CancelReply, Claim, EnqueueStatus, Renewal, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements, needs_limit
from docket_core.conformance.subject import LEASE, RETENTION, Subject
from docket_core.errors import Overloaded

PAYLOAD = b"x" * 1024
MOST = 10_000
"""So many tasks of this size fill a store that was made to be filled."""


async def is_refused(backend: Backend, task: Task, *, at_once: bool = True) -> bool:
    """Whether the store is too full for this task."""
    add = backend.enqueue if at_once else backend.schedule
    try:
        [answer] = await add([task])
    except Overloaded:
        return True
    assert answer.status is EnqueueStatus.ACCEPTED or isinstance(answer.error, Overloaded)
    return answer.status is EnqueueStatus.REFUSED


@needs_limit
class TestLimits(Requirements):
    async def full(self, subject: Subject, backend: Backend) -> list[str]:
        """Fill it; the keys it has taken."""
        keys: list[str] = []
        while not await is_refused(backend, subject.task(f"key-{len(keys)}", payload=PAYLOAD)):
            keys.append(f"key-{len(keys)}")
            assert len(keys) < MOST, "the store that `open_limited` makes does not become full"
        assert len(keys) > 10, "the store that `open_limited` makes is full from the beginning"
        return keys

    async def taken(self, subject: Subject, backend: Backend) -> list[Claim]:
        """Claim all there is, in portions: how much one claim takes is the backend's affair."""
        taken: list[Claim] = []
        while claims := await subject.claim(100, by=backend):
            taken += claims
        return taken

    async def drained(self, subject: Subject, backend: Backend) -> int:
        """Claim and complete until nothing is left; how many."""
        done = 0
        while claims := await subject.claim(20, by=backend):
            assert list(await backend.ack([Ack.complete(claim) for claim in claims])) == [Acked.ACKED] * len(claims)
            done += len(claims)
        return done

    async def room(self, subject: Subject, backend: Backend) -> bool:
        """Whether it takes new tasks again, and they can be claimed."""
        if await is_refused(backend, subject.task("new", payload=PAYLOAD)):
            return False
        await subject.take("new", by=backend)
        return True

    async def test_full_store_writes_nothing_new(self, subject: Subject) -> None:
        """An item refused by a full store is `Overloaded`, answered or raised; nothing of it is written."""
        backend = await subject.limited(retention=0)
        keys = await self.full(subject, backend)
        refused = f"key-{len(keys)}"
        assert await is_refused(backend, subject.task(refused, payload=PAYLOAD), at_once=False)
        assert list(await backend.get([refused])) == [None]
        assert sorted(claim.key for claim in await self.taken(subject, backend)) == sorted(keys)

    async def test_full_store_drains(self, subject: Subject) -> None:
        """A full store still drains: claims, renewals and acks of any shape go through; then there is room again."""
        backend = await subject.limited(retention=0)
        keys = await self.full(subject, backend)
        completed, failed, cancelled, released, retried = claims = await subject.claim(5, by=backend)
        assert list(await backend.renew(claims, LEASE)) == [Renewal.RENEWED] * 5
        acks = [
            Ack.complete(completed, b"result"),
            Ack.fail(failed, "error", b"result"),
            Ack.cancel(cancelled, "reason"),
            Ack.release(released),
            Ack.retry(retried, attempt=2),
        ]
        assert list(await backend.ack(acks)) == [Acked.ACKED] * 5
        assert await self.drained(subject, backend) == len(keys) - 3
        assert await self.room(subject, backend)

    async def test_full_store_takes_over(self, subject: Subject) -> None:
        """A full store still drains: also what a worker has left behind."""
        backend = await subject.limited(retention=0)
        keys = await self.full(subject, backend)
        left = await subject.claim(10, by=backend)
        await subject.advance(LEASE)
        again = await self.taken(subject, backend)
        assert len(again) == len(keys)
        assert sum(claim.delivery == 2 for claim in again) == len(left)
        for claim in again:
            assert await subject.ack(Ack.complete(claim), by=backend) is Acked.ACKED
        assert await self.room(subject, backend)

    async def test_full_store_still_cancels(self, subject: Subject) -> None:
        """A full store still drains: by cancel, which ends what is pending and asks what runs, and by clear."""
        backend = await subject.limited(retention=0)
        keys = await self.full(subject, backend)
        [running] = await subject.claim(1, by=backend)
        pending = [key for key in keys if key != running.key]
        assert list(await backend.cancel([running.key, pending[0]])) == [CancelReply.REQUESTED, CancelReply.CANCELLED]
        assert list(await backend.renew([running], LEASE)) == [Renewal.CANCEL]
        assert await subject.ack(Ack.cancel(running), by=backend) is Acked.ACKED
        assert await backend.clear() == len(keys) - 2
        assert await self.room(subject, backend)

    async def test_outcomes_of_a_full_store_are_kept(self, subject: Subject) -> None:
        """A full store still drains where outcomes are kept: there is room again once retention has released them."""
        backend = await subject.limited()
        keys = await self.full(subject, backend)
        [first] = await subject.claim(1, by=backend)
        assert await subject.ack(Ack.complete(first, b"result"), by=backend) is Acked.ACKED
        record = await subject.record(first.key, by=backend)
        assert record is not None
        assert record.last is not None
        assert (record.last.state, record.last.result) == (State.COMPLETED, b"result")
        assert await self.drained(subject, backend) == len(keys) - 1
        await subject.advance(RETENTION + SECOND)
        while await backend.prune(100) == 100:
            pass
        assert await self.room(subject, backend)
