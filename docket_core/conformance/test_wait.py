"""Wait: the only call that sleeps, a hint, and never a loss."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import TypeVar

from docket_core.backend.clock import SECOND, Micros
from docket_core.backend.model import Ack, Claim, Gate, Mark, OnConflict, Renewal, Take
from docket_core.backend.protocol import Backend
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements, needs_disrupt, needs_push
from docket_core.conformance.subject import LEASE, Patience, Subject, assert_leads_to, slot, started, within
from docket_core.errors import BackendUnavailable

Answer = TypeVar("Answer")
WORK = frozenset({"work"})


async def begin(
    subject: Subject,
    functions: AbstractSet[str] | None = WORK,
    until: Micros | None = None,
    by: Backend | None = None,
    *,
    room: int = 0,
    take: Take | None = None,
) -> "asyncio.Task[None]":
    """A wait that has fallen asleep: one that ends early, as a hint may, is begun again."""
    backend = by or subject.backend
    for _ in range(10):
        claimed = await backend.claim("worker", functions, room, LEASE)
        waiting = started(backend.wait(functions, claimed.mark, until, take))
        await asyncio.wait({waiting}, timeout=0.05)
        if not waiting.done():
            return waiting
    raise AssertionError("wait does not sleep, though nothing happens")


async def again_and_again(operation: Callable[[], Awaitable[Answer]]) -> Answer:
    """What it answers once the store can be reached again."""
    async with asyncio.timeout(Patience.seconds):
        while True:
            try:
                return await operation()
            except BackendUnavailable:
                await asyncio.sleep(0.02)  # the store's own time, which no clock moves


async def found(subject: Subject) -> Claim:
    """What somebody else can claim, as soon as there is something."""
    async with asyncio.timeout(Patience.seconds):
        while True:
            if claims := await subject.claim(worker="other"):
                return claims[0]
            await asyncio.sleep(0.01)  # the store's own time, which no clock moves


class TestWait(Requirements):
    async def test_sleeps_while_nothing_happens(self, subject: Subject) -> None:
        """Sleep until there may be something to claim: an idle worker costs next to nothing."""
        waiting = await begin(subject)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    async def test_ends_after_two_seconds(self, subject: Subject) -> None:
        """Ends after two seconds, whatever happens: losing a push costs latency only."""
        waiting = await begin(subject)
        await subject.advance(2 * SECOND)
        await within(waiting)

    async def test_work_is_found_without_a_push(self, subject: Subject) -> None:
        """Whether a push comes or not, what was added while a worker waits is claimed within two seconds."""
        other = await subject.another()
        waiting = await begin(subject)
        await other.enqueue([subject.task("key")])
        await subject.advance(2 * SECOND)
        await within(waiting)
        await subject.take("key")

    @needs_disrupt
    async def test_lost_push_costs_latency_only(self, subject: Subject) -> None:
        """Losing a push costs latency only: whatever broke meanwhile, the work is claimed within two seconds."""
        waiting = await begin(subject)
        await subject.disrupt()
        adding = await subject.another()
        await again_and_again(lambda: adding.enqueue([subject.task("key")]))
        await subject.advance(2 * SECOND)
        with suppress(BackendUnavailable):
            await within(waiting)
        [claim] = await again_and_again(subject.claim)
        assert claim.key == "key"

    async def test_ends_at_until(self, subject: Subject) -> None:
        """Ends at `until` (store time)."""
        waiting = await begin(subject, until=subject.now + SECOND)
        await subject.advance(SECOND)
        await within(waiting)

    async def test_a_moment_in_the_past_ends_at_once(self, subject: Subject) -> None:
        """`until` may have come already."""
        claimed = await subject.backend.claim("worker", None, 1, LEASE)
        await within(subject.backend.wait(None, claimed.mark, subject.now - SECOND))

    async def test_may_be_cancelled_at_any_time(self, subject: Subject) -> None:
        """It may be cancelled at any time, and the instance is as good as before."""
        for _ in range(3):
            waiting = await begin(subject)
            waiting.cancel()
            await within(asyncio.wait({waiting}))
            assert waiting.cancelled()
        await subject.add("key")
        await subject.take("key")

    async def test_push_before_the_wait_is_not_lost(self, subject: Subject) -> None:
        """Ends when something was pushed after `since` was made, though it was pushed before the wait began."""
        claimed = await subject.backend.claim("worker", WORK, 1, LEASE)
        await subject.add("key")
        await within(subject.backend.wait(WORK, claimed.mark, None))

    async def test_permit_freed_before_the_wait_is_not_lost(self, subject: Subject) -> None:
        """So it does when a permit was freed after `since` was made, and nobody was waiting then."""
        gate = Gate("gate", 1)
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, gate))
        await subject.parked("parked", gate)
        claimed = await subject.backend.claim("worker", WORK, 1, LEASE)
        await subject.end(holder)
        await within(subject.backend.wait(WORK, claimed.mark, None))
        await subject.take("parked")

    async def test_end_of_a_hold_before_the_wait_is_not_lost(self, subject: Subject) -> None:
        """So it does when a hold has ended after `since` was made."""
        hold = await subject.running()
        await subject.replace("key")
        claimed = await subject.backend.claim("worker", WORK, 1, LEASE)
        await subject.ack(Ack.complete(hold))
        await within(subject.backend.wait(WORK, claimed.mark, None))
        await subject.take("key")

    async def test_due_before_the_wait_is_not_lost(self, subject: Subject) -> None:
        """What was added after `since` was made, and came due before the wait began, is not slept over: it is pushed,
        or the two seconds count from `since`."""
        (await begin(subject)).cancel()  # whatever rings is in force
        claimed = await subject.backend.claim("worker", WORK, 1, LEASE)
        await subject.later("key", delay=4 * SECOND)
        await subject.advance(4 * SECOND)
        await within(subject.backend.wait(WORK, claimed.mark, claimed.next_at))
        await subject.take("key")

    @needs_push
    async def test_ends_at_a_push(self, subject: Subject) -> None:
        """Ends when something for these functions was pushed: by an add, a replace, a retry or a release."""
        other = await subject.another()
        waiting = await begin(subject)
        await other.enqueue([subject.task("key")])
        await within(waiting)
        claim = await subject.take("key")
        waiting = await begin(subject)
        await other.ack([Ack.retry(claim, attempt=2)])
        await within(waiting)
        claim = await subject.take("key")
        waiting = await begin(subject)
        await other.ack([Ack.release(claim)])
        await within(waiting)
        await subject.end(await subject.take("key"))
        await subject.later("key")
        waiting = await begin(subject)
        await other.enqueue([subject.task("key")], OnConflict.REPLACE)
        await within(waiting)

    @needs_push
    async def test_ends_at_a_push_for_any(self, subject: Subject) -> None:
        """None: of all functions."""
        waiting = await begin(subject, None)
        await subject.add("key", function="whatever")
        await within(waiting)

    @needs_push
    async def test_every_waiter_is_woken(self, subject: Subject) -> None:
        """Each that waits for the function learns of it, in whatever process."""
        other = await subject.another()
        waiters = [await begin(subject), await begin(subject, by=other), await begin(subject, by=other)]
        await subject.add("a", "b", "c")
        await within(asyncio.wait(waiters))
        for waiter in waiters:
            await waiter

    @needs_push
    async def test_something_due_earlier_than_until_wakes(self, subject: Subject) -> None:
        """What is scheduled while somebody sleeps towards a later moment is not overslept."""
        await subject.later("later", delay=2 * SECOND)
        claimed = await subject.backend.claim("worker", WORK, 1, LEASE)
        waiting = started(subject.backend.wait(WORK, claimed.mark, claimed.next_at))
        await asyncio.sleep(0)
        await subject.later("sooner", delay=SECOND)
        await within(waiting)
        claimed = await subject.backend.claim("worker", WORK, 1, LEASE)
        assert_leads_to(claimed, subject.now + SECOND)

    @needs_push
    async def test_freed_permit_wakes(self, subject: Subject) -> None:
        """A permit that is given back wakes who may claim the task that is parked for it."""
        gate = Gate("gate", 1)
        holder = await subject.running("holder")
        await subject.acquire(slot(holder, gate))
        await subject.parked("parked", gate)
        waiting = await begin(subject)
        await subject.end(holder)
        await within(waiting)
        await subject.take("parked")

    @needs_push
    async def test_end_of_a_hold_wakes(self, subject: Subject) -> None:
        """The newer of a replaced task can be claimed the moment the hold has ended."""
        hold = await subject.running()
        await subject.replace("key")
        waiting = await begin(subject)
        await subject.ack(Ack.complete(hold))
        await within(waiting)
        await subject.take("key")

    async def test_mark_is_of_the_claim(self, subject: Subject) -> None:
        """What `claim` hands to `wait` is its own affair: any claim's mark is good for any functions."""
        claimed = await subject.backend.claim("worker", None, 1, LEASE)
        mark: Mark = claimed.mark
        await subject.add("key", function="other")
        await within(subject.backend.wait({"other"}, mark, None))


class Taken:
    """What was handed over to a wait: its `take`."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.calls = 0

    def __call__(self, claims: Sequence[Claim], now: Micros) -> None:
        assert claims
        assert all(claim.claimed_at <= now < claim.lease_until for claim in claims)
        self.claims.extend(claims)
        self.calls += 1


class TestHandingOver(Requirements):
    """What a wait may hand over, on backends that do; on others the claim that follows brings it."""

    async def brought(self, subject: Subject, waiting: "asyncio.Task[None]", taken: Taken) -> list[Claim]:
        """What has come to the worker that waits: it is handed over before the wait ends."""
        await subject.advance(2 * SECOND)  # a backend need not push
        await within(waiting)
        assert taken.calls <= 1
        return taken.claims or await subject.claim(1)

    async def test_it_is_a_claim(self, subject: Subject) -> None:
        """What was handed over is the worker's, as another claim on the same terms would have it, and nobody else's."""
        other, taken = await subject.another(), Taken()
        waiting = await begin(subject, room=1, take=taken)
        [added] = await other.enqueue([subject.task("key")])
        [claim] = await self.brought(subject, waiting, taken)
        assert added.state is State.RUNNING or not taken.calls
        assert (claim.key, claim.function, claim.payload, claim.delivery) == ("key", "work", b"payload", 1)
        assert not await subject.claim(worker="other", by=other)
        assert await other.renew([claim], LEASE) == [Renewal.RENEWED]
        await subject.end(claim)
        assert await subject.state("key") is State.COMPLETED

    async def test_of_any_function(self, subject: Subject) -> None:
        """None: of all functions."""
        taken = Taken()
        waiting = await begin(subject, None, room=1, take=taken)
        await subject.add("key", function="whatever")
        [claim] = await self.brought(subject, waiting, taken)
        assert (claim.key, claim.function) == ("key", "whatever")

    @needs_push
    async def test_its_lease_counts_from_then(self, subject: Subject) -> None:
        """The lease is that of the claim before, from the moment it was handed over."""
        taken = Taken()
        waiting = await begin(subject, room=1, take=taken)
        before = subject.now
        await subject.add("key")
        await within(waiting)
        [claim] = taken.claims or await subject.claim(1)
        assert before + LEASE <= claim.lease_until <= subject.now + LEASE

    async def test_only_of_the_functions_that_are_waited_for(self, subject: Subject) -> None:
        """A wait's functions are those it was begun with."""
        taken = Taken()
        waiting = await begin(subject, room=1, take=taken)
        await subject.add("strange", function="other")
        await subject.add("key")
        await subject.advance(2 * SECOND)
        await within(waiting)
        assert [claim.key for claim in taken.claims] in ([], ["key"])

    async def test_no_more_than_there_is_room_for(self, subject: Subject) -> None:
        """The claim before has said how many there may be."""
        taken = Taken()
        waiting = await begin(subject, room=1, take=taken)
        await subject.add("a", "b", "c")
        [claim] = await self.brought(subject, waiting, taken)
        assert claim.key == "a"
        assert [claim.key for claim in await subject.claim()] == ["b", "c"]

    async def test_nothing_where_there_is_no_room(self, subject: Subject) -> None:
        """Nor is anything handed over after a claim that has brought as many as it asked for."""
        (await begin(subject)).cancel()  # whatever rings is in force
        await subject.add("first")
        claimed, taken = await subject.backend.claim("worker", WORK, 1, LEASE), Taken()
        waiting = started(subject.backend.wait(WORK, claimed.mark, None, taken))
        await asyncio.wait({waiting}, timeout=0.05)
        await subject.add("key")
        await subject.advance(2 * SECOND)
        await within(waiting)
        assert not taken.claims
        await subject.take("key")

    async def test_nothing_to_who_takes_nothing(self, subject: Subject) -> None:
        """`take` is None: the wait is a hint only."""
        waiting = await begin(subject, room=1)
        await subject.add("key")
        await subject.advance(2 * SECOND)
        await within(waiting)
        await subject.take("key")

    async def test_not_while_a_hold_is_running(self, subject: Subject) -> None:
        """What replaces a run waits for its end."""
        hold, taken = await subject.running(), Taken()
        waiting = await begin(subject, room=1, take=taken)
        await subject.replace("key")
        await asyncio.wait({waiting}, timeout=0.05)
        assert not taken.claims
        await subject.ack(Ack.complete(hold))
        [claim] = await self.brought(subject, waiting, taken)
        assert claim.generation == hold.generation + 1

    async def test_a_cancelled_wait_loses_nothing(self, subject: Subject) -> None:
        """What was handed over to a wait is its caller's, though that cancels it; what comes later goes back, and this
        delivery is not counted."""
        other = await subject.another()
        for turns in range(10):
            taken = Taken()
            waiting = await begin(subject, room=1, take=taken)
            adding = started(other.enqueue([subject.task("key")]))
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await within(asyncio.wait({waiting, adding}))
            claim = taken.claims[0] if taken.claims else await found(subject)
            assert claim.delivery == 1
            await subject.end(claim)

    async def test_the_mark_is_still_good(self, subject: Subject) -> None:
        """The wait that follows what was handed over counts from the same claim."""
        (await begin(subject)).cancel()  # whatever rings is in force
        claimed = await subject.backend.claim("worker", WORK, 3, LEASE)
        for key in ("a", "b", "c"):
            taken = Taken()
            waiting = started(subject.backend.wait(WORK, claimed.mark, None, taken))
            await asyncio.wait({waiting}, timeout=0.05)
            await subject.add(key)
            await subject.advance(2 * SECOND)
            await within(waiting)
            claims: Sequence[Claim] = taken.claims
            if not claims:
                claimed = await subject.backend.claim("worker", WORK, 3, LEASE)
                claims = claimed.claims
            assert [claim.key for claim in claims] == [key]
