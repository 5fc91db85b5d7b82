"""Loops and threads: an instance belongs to one loop; instances on one store may live in several threads."""

import asyncio
import threading
from collections.abc import Callable, Coroutine

from docket_core.backend.model import Ack, Claim, EnqueueStatus
from docket_core.backend.protocol import Backend
from docket_core.backend.records import StateChanged, Topic
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements, needs_push
from docket_core.conformance.subject import LEASE, Item, Patience, Subject, within

Work = Callable[[Backend], Coroutine[None, None, Item]]


async def in_threads(subject: Subject, name: str, number: int, work: Work[Item]) -> list[Item]:
    """What `work` answers in so many threads, each with an event loop and an instance of its own."""

    async def alone() -> Item:
        async with subject.opener(name, None) as backend:
            return await work(backend)

    results: list[Item] = []

    def body() -> None:
        results.append(asyncio.run(alone()))

    async def joined() -> None:
        await asyncio.gather(*(asyncio.to_thread(body) for _ in range(number)))

    await asyncio.wait_for(joined(), 3 * Patience.seconds)
    return results


class TestThreads(Requirements):
    async def test_threads_share_the_work(self, subject: Subject) -> None:
        """Instances on one store may live in different threads: nothing is granted twice, nothing is lost."""
        name = f"{subject.name}-threads"
        keys = [f"key-{number:03}" for number in range(60)]
        barrier = threading.Barrier(3)

        async def work(backend: Backend) -> list[Claim]:
            await asyncio.to_thread(barrier.wait)
            await backend.enqueue([subject.task(key) for key in keys])
            done: list[Claim] = []
            while claims := (await backend.claim("worker", None, 4, LEASE)).claims:
                done += claims
                await backend.ack([Ack.complete(claim) for claim in claims])
            return done

        async with subject.opener(name, None):  # keeps a store that lives with its users
            done = [claim for portion in await in_threads(subject, name, 3, work) for claim in portion]
        tokens = [claim.token for claim in done]
        assert len(tokens) == len(set(tokens))
        assert {claim.key for claim in done} == set(keys)
        assert len({(claim.key, claim.run) for claim in done}) == len(done)

    async def test_of_adds_in_threads_one_is_accepted(self, subject: Subject) -> None:
        """Of many racing adds of a key exactly one is accepted, over loops too."""
        name = f"{subject.name}-threads"
        barrier = threading.Barrier(4)

        async def work(backend: Backend) -> EnqueueStatus:
            await asyncio.to_thread(barrier.wait)
            [answer] = await backend.enqueue([subject.task("key")])
            return answer.status

        async with subject.opener(name, None):
            statuses = await in_threads(subject, name, 4, work)
        assert sorted(statuses) == [EnqueueStatus.ACCEPTED] + [EnqueueStatus.EXISTS] * 3

    @needs_push
    async def test_push_and_events_cross_threads(self, subject: Subject) -> None:
        """A wait and a subscription on one loop learn what a thread with another one does."""
        name = f"{subject.name}-threads"
        async with subject.opener(name, None) as backend:
            claimed = await backend.claim("worker", None, 1, LEASE)
            waiting = asyncio.ensure_future(backend.wait(None, claimed.mark, None))

            async def work(there: Backend) -> None:
                await there.enqueue([subject.task("key")])
                [claim] = (await there.claim("worker", None, 1, LEASE)).claims
                await there.ack([Ack.complete(claim)])

            async with subject.listening(frozenset({Topic.STATE}), by=backend) as (_, reader):
                await in_threads(subject, name, 1, work)
                await within(waiting)
                await reader.until(
                    lambda seen: any(
                        isinstance(event, StateChanged) and event.state is State.COMPLETED for event in seen
                    )
                )
