"""Clear: end what is pending, and nothing else."""

import asyncio

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Gate, Renewal
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, slot, started, within


class TestClear(Requirements):
    async def test_ends_all_that_is_pending(self, subject: Subject) -> None:
        """End as CANCELLED all that was pending when it began, parked included; answers how many."""
        gate = Gate("gate", 1)
        await subject.acquire(slot(await subject.running("holder"), gate))
        await subject.parked("parked", gate)
        await subject.later("scheduled")
        await subject.add("queued")
        assert await subject.backend.clear() == 3
        assert await subject.states("parked", "scheduled", "queued") == [State.CANCELLED] * 3
        assert await subject.claim() == []
        assert await subject.backend.clear() == 0

    async def test_ends_none_that_is_running(self, subject: Subject) -> None:
        """None running: they keep their lease, their redelivery and their verdict."""
        claim = await subject.running("running")
        lapsed = await subject.running("lapsed", lease=SECOND)
        await subject.advance(SECOND)
        assert await subject.backend.clear() == 0
        assert list(await subject.backend.renew([claim], LEASE)) == [Renewal.RENEWED]
        assert [again.key for again in await subject.claim()] == ["lapsed"]
        assert await subject.ack(Ack.complete(lapsed)) is Acked.LOST
        assert await subject.ack(Ack.complete(claim)) is Acked.ACKED

    async def test_of_a_replaced_task_the_newer_goes(self, subject: Subject) -> None:
        """The newer is pending and ends, the hold runs on."""
        hold = await subject.running()
        await subject.replace("key")
        assert await subject.backend.clear() == 1
        record = await subject.record()
        assert record is not None
        assert record.live is None
        assert record.hold is not None
        assert list(await subject.backend.renew([hold], LEASE)) == [Renewal.RENEWED]

    async def test_ends_nothing_added_later(self, subject: Subject) -> None:
        """Works in portions; ends none that was added after it began."""
        old = [f"old-{number:04}" for number in range(2500)]
        for first in range(0, 2500, 500):
            await subject.add(*old[first : first + 500])
        clearing = started(subject.backend.clear())
        added: list[str] = []

        async def begun() -> None:
            while not clearing.done():
                records = await subject.backend.get(old[::250])
                if any(record is not None and record.last is not None for record in records):
                    return
                await asyncio.sleep(0)

        await within(begun())
        for number in range(20):
            added.append(f"new-{number}")
            await subject.add(added[-1])
            await asyncio.sleep(0)
        assert await clearing == len(old)
        assert {claim.key for claim in await subject.claim()} == set(added)

    async def test_under_load_what_came_after_stays(self, subject: Subject) -> None:
        """What was acknowledged after it returned is never cleared, whatever races with it."""
        other = await subject.another()

        async def adding() -> list[str]:
            keys = [f"racing-{number}" for number in range(30)]
            for key in keys:
                await other.enqueue([subject.task(key)])
            return keys

        await subject.add("before")
        count, keys = await asyncio.gather(subject.backend.clear(), adding())
        await subject.add("after")
        states = await subject.states("before", *keys, "after")
        assert states[0] is State.CANCELLED
        assert states[-1] is State.QUEUED
        assert states.count(State.CANCELLED) == count
