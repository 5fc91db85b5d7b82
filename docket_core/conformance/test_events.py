"""Events: what a subscription tells, and what it never tells."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, OnConflict, ProgressUpdate
from docket_core.backend.records import CancelRequested, ProgressMade, StateChanged, Topic
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements, needs_disrupt
from docket_core.conformance.subject import LEASE, Subject, within
from docket_core.errors import BackendUnavailable

STATE = frozenset({Topic.STATE})


def came(seen: Sequence[object], key: str, state: State) -> bool:
    return any(isinstance(event, StateChanged) and event.key == key and event.state is state for event in seen)


class TestEvents(Requirements):
    async def test_a_terminal_state_is_told(self, subject: Subject) -> None:
        """Live events, live once entered; a terminal state is told with what a handle shows of it."""
        claim = await subject.running()
        async with subject.listening(STATE) as (_, reader):
            await subject.advance(SECOND)
            await subject.ack(Ack.fail(claim, "it broke"))
            seen = await reader.until(lambda seen: came(seen, "key", State.FAILED))
        event = seen[-1]
        assert isinstance(event, StateChanged)
        assert (event.run, event.generation, event.when) == (claim.run, 1, claim.when)
        assert (event.worker, event.started_at) == ("worker", claim.claimed_at)
        assert (event.completed_at, event.error) == (subject.now, "it broke")

    async def test_every_kind_of_end_is_told(self, subject: Subject) -> None:
        """A terminal state is always seen by who waits: by ack, cancel, clear, poison and sweep alike."""
        async with subject.listening(STATE) as (_, reader):
            await subject.ack(Ack.complete(await subject.running("completed")))
            await subject.ack(Ack.cancel(await subject.running("dropped")))
            await subject.later("cancelled")
            await subject.backend.cancel(["cancelled"])
            await subject.later("cleared")
            await subject.backend.clear()
            await subject.running("swept")
            await subject.backend.cancel(["swept"])
            await subject.advance(LEASE)
            await subject.claim(0)
            await subject.running("poisoned")
            await subject.advance(LEASE)
            await subject.claim(max_deliveries=1)
            for key in ("dropped", "cancelled", "cleared", "swept"):
                await reader.until(partial(came, key=key, state=State.CANCELLED))
            await reader.until(lambda seen: came(seen, "completed", State.COMPLETED))
            await reader.until(lambda seen: came(seen, "poisoned", State.FAILED))

    async def test_other_instances_are_told(self, subject: Subject) -> None:
        """Events cross from one process to another."""
        other = await subject.another()
        claim = await subject.running()
        async with subject.listening(STATE, by=other) as (_, reader):
            await subject.end(claim)
            await reader.until(lambda seen: came(seen, "key", State.COMPLETED))

    async def test_states_of_a_run_never_go_back(self, subject: Subject) -> None:
        """States of one run never go back; what lies between may be left out."""
        async with subject.listening(STATE, ["key"]) as (_, reader):
            await subject.later("key", delay=SECOND)
            await subject.advance(SECOND)
            await subject.ack(Ack.retry(await subject.take("key"), attempt=2))
            await subject.end(await subject.take("key"))
            seen = await reader.until(lambda seen: came(seen, "key", State.COMPLETED))
        order = [State.SCHEDULED, State.QUEUED, State.RUNNING, State.COMPLETED]
        steps = [(event.generation, order.index(event.state)) for event in seen if isinstance(event, StateChanged)]
        assert steps == sorted(steps)
        assert steps[-1] == (2, 3)

    async def test_only_keys_asked_for(self, subject: Subject) -> None:
        """Live events of these topics and keys; None: of all keys."""
        async with subject.listening(STATE, ["mine"]) as (_, mine), subject.listening(STATE) as (_, all_):
            await subject.end(await subject.running("theirs"))
            await subject.end(await subject.running("mine"))
            await mine.until(lambda seen: came(seen, "mine", State.COMPLETED))
            await all_.until(lambda seen: came(seen, "theirs", State.COMPLETED))
            assert not came(mine.seen, "theirs", State.COMPLETED)

    async def test_only_topics_asked_for(self, subject: Subject) -> None:
        """A subscription tells of its topics only."""
        topics = frozenset({Topic.PROGRESS})
        async with subject.listening(topics) as (_, progress), subject.listening(STATE) as (_, states):
            claim = await subject.running()
            await subject.backend.progress([ProgressUpdate(claim, 1)])
            await subject.end(claim)
            await states.until(lambda seen: came(seen, "key", State.COMPLETED))
            await progress.until(lambda seen: len(seen) > 0)
            assert {type(event) for event in states.seen} == {StateChanged}
            assert {type(event) for event in progress.seen} == {ProgressMade}

    async def test_entered_while_another_is(self, subject: Subject) -> None:
        """Live once entered, also one that is entered while another one still is."""

        async def listens_to_cancels(told: asyncio.Event) -> None:
            async with subject.listening(frozenset({Topic.CANCEL})):
                await told.wait()

        for turns in range(8):
            key, told = f"after {turns} turns", asyncio.Event()
            beside = asyncio.ensure_future(listens_to_cancels(told))
            for _ in range(turns):
                await asyncio.sleep(0)
            async with subject.listening(STATE) as (_, reader):
                await subject.end(await subject.running(key))
                await reader.until(partial(came, key=key, state=State.COMPLETED))
            told.set()
            await within(beside)

    async def test_watch_and_unwatch(self, subject: Subject) -> None:
        """Also tell of these keys; tell no more of these keys."""
        async with subject.listening(STATE, []) as (subscription, reader):
            await subscription.watch(["a", "b"])
            await subject.end(await subject.running("a"))
            await reader.until(lambda seen: came(seen, "a", State.COMPLETED))
            await subscription.unwatch(["a"])
            await subject.end(await subject.running("a"))
            await subject.end(await subject.running("b"))
            await reader.until(lambda seen: came(seen, "b", State.COMPLETED))
            ends = [event for event in reader.seen if isinstance(event, StateChanged) and event.key == "a"]
            assert {event.generation for event in ends} == {1}

    async def test_progress_is_told(self, subject: Subject) -> None:
        """The progress of a running task has changed: the latest state is told."""
        claim = await subject.running()
        async with subject.listening(frozenset({Topic.PROGRESS}), ["key"]) as (_, reader):
            await subject.backend.progress([ProgressUpdate(claim, 2, 10, "two"), ProgressUpdate(claim, 1)])

            def all_told(seen: Sequence[object]) -> bool:
                return bool(seen) and isinstance(seen[-1], ProgressMade) and seen[-1].progress.current == 3

            event = (await reader.until(all_told))[-1]
            assert isinstance(event, ProgressMade)
            assert (event.run, event.generation, event.progress.total) == (claim.run, 1, 10)
            assert (event.progress.message, event.progress.updated_at) == ("two", subject.now)

    async def test_a_requested_cancel_is_told(self, subject: Subject) -> None:
        """The holder of this grant is asked to stop; the worker is told by event."""
        claim = await subject.running()
        async with subject.listening(frozenset({Topic.CANCEL})) as (_, reader):
            await subject.backend.cancel(["key"])
            seen = await reader.until(lambda seen: len(seen) > 0)
        assert seen[0] == CancelRequested("key", 1, claim.token)

    async def test_a_holds_cancel_is_told_to_its_holder(self, subject: Subject) -> None:
        """With a hold: the hold is asked to stop, by its own token."""
        hold = await subject.running()
        await subject.replace("key")
        async with subject.listening(frozenset({Topic.CANCEL})) as (_, reader):
            await subject.backend.cancel(["key"])
            seen = await reader.until(lambda seen: len(seen) > 0)
        assert seen[0] == CancelRequested("key", 1, hold.token)

    async def test_a_replace_is_told(self, subject: Subject) -> None:
        """Who waits for a replaced run is told: the newer run's state comes."""
        await subject.running()
        async with subject.listening(STATE, ["key"]) as (_, reader):
            newer = subject.task("key", delay=SECOND)
            await subject.backend.schedule([newer], OnConflict.REPLACE)
            seen = await reader.until(lambda seen: came(seen, "key", State.SCHEDULED))
        event = seen[-1]
        assert isinstance(event, StateChanged)
        assert (event.run, event.generation, event.when) == (newer.run, 2, subject.now + SECOND)

    async def test_an_end_and_its_successor_are_told(self, subject: Subject) -> None:
        """Both in one step, and both told: the end of one run and the birth of the next."""
        claim = await subject.running()
        async with subject.listening(STATE) as (_, reader):
            await subject.ack(Ack.complete(claim, successor=subject.task("key", delay=SECOND)))
            await reader.until(lambda seen: came(seen, "key", State.COMPLETED) and came(seen, "key", State.SCHEDULED))

    @needs_disrupt
    async def test_subscription_comes_back(self, subject: Subject) -> None:
        """It comes back by itself after a lost connection."""
        async with subject.listening(STATE) as (_, reader):
            await subject.end(await subject.running("before"))
            await reader.until(lambda seen: came(seen, "before", State.COMPLETED))
            await subject.disrupt()

            async def told_again() -> None:
                number = 0
                while not any(isinstance(event, StateChanged) and event.key != "before" for event in reader.seen):
                    number += 1
                    with suppress(BackendUnavailable):
                        await subject.end(await subject.running(f"after-{number}"))
                    await asyncio.sleep(0.05)  # the connection's own time, which no clock moves

            await within(told_again())
