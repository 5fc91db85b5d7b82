"""Adding and claiming: what is ready, for whom, in which order."""

import asyncio
from uuid import uuid4

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Claim, EnqueueStatus, OnConflict
from docket_core.backend.states import State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, assert_leads_to

HOUR = 3600 * SECOND


class TestAdding(Requirements):
    async def test_enqueue_makes_ready_now(self, subject: Subject) -> None:
        """Make tasks ready now; `when` and `delay` of the tasks are not looked at."""
        tasks = [
            subject.task("delayed", delay=HOUR),
            subject.task("dated", when=subject.now + HOUR),
            subject.task("plain", attempt=3),
        ]
        answers = await subject.backend.enqueue(tasks)
        assert [(answer.status, answer.run, answer.generation) for answer in answers] == [
            (EnqueueStatus.ACCEPTED, task.run, 1) for task in tasks
        ]
        assert {answer.when for answer in answers} == {subject.now}
        assert {answer.state for answer in answers} == {State.QUEUED}
        assert {claim.key for claim in await subject.claim()} == {"delayed", "dated", "plain"}

    async def test_schedule_makes_ready_at_its_time(self, subject: Subject) -> None:
        """Make tasks ready at their `when`, or after their `delay`, or now if they have neither."""
        now = subject.now
        answers = await subject.backend.schedule(
            [subject.task("when", when=now + 2 * SECOND), subject.task("delay", delay=SECOND), subject.task("now")]
        )
        assert [answer.when for answer in answers] == [now + 2 * SECOND, now + SECOND, now]
        assert [answer.state for answer in answers] == [State.SCHEDULED, State.SCHEDULED, State.QUEUED]
        assert [claim.key for claim in await subject.claim()] == ["now"]
        await subject.advance(SECOND)
        assert await subject.states("delay", "when") == [State.QUEUED, State.SCHEDULED]
        assert [claim.key for claim in await subject.claim()] == ["delay"]
        await subject.advance(SECOND)
        assert [claim.key for claim in await subject.claim()] == ["when"]

    async def test_never_early(self, subject: Subject) -> None:
        """A task is never early."""
        step = max(subject.backend.capabilities.time_resolution, 1)
        await subject.later("key", delay=SECOND)
        await subject.advance(SECOND - step)
        assert await subject.claim() == []
        assert await subject.state() is State.SCHEDULED
        await subject.advance(step)
        await subject.take("key")

    async def test_moment_in_the_past_is_due_now(self, subject: Subject) -> None:
        """A moment in the past is due now."""
        [answer] = await subject.backend.schedule([subject.task("key", when=-SECOND)])
        assert (answer.when, answer.state) == (-SECOND, State.QUEUED)
        assert (await subject.take("key")).when == -SECOND

    async def test_far_moments(self, subject: Subject) -> None:
        """Year 9999 is accepted."""
        last_second_of_9999 = 253_402_300_799 * SECOND
        await subject.backend.schedule([subject.task("key", when=last_second_of_9999)])
        claimed = await subject.backend.claim("worker", None, 1, LEASE)
        assert list(claimed.claims) == []
        assert_leads_to(claimed, last_second_of_9999)

    async def test_keep_keeps_the_first(self, subject: Subject) -> None:
        """A key with a live part is EXISTS under KEEP: scheduled, queued and running alike."""
        first = subject.task("key", payload=b"first", delay=SECOND)
        await subject.backend.schedule([first])
        for stage in (State.SCHEDULED, State.QUEUED, State.RUNNING):
            for add in (subject.backend.enqueue, subject.backend.schedule):
                [answer] = await add([subject.task("key", payload=b"second")])
                assert (answer.status, answer.run, answer.state) == (EnqueueStatus.EXISTS, first.run, stage)
            if stage is State.SCHEDULED:
                await subject.advance(SECOND)
            elif stage is State.QUEUED:
                assert (await subject.take("key")).payload == b"first"

    async def test_replace_overwrites_what_is_pending(self, subject: Subject) -> None:
        """Under REPLACE a pending one is overwritten."""
        await subject.later("key")
        newer = subject.task("key", "other", payload=b"newer", headers=b"h", attempt=4)
        [answer] = await subject.backend.enqueue([newer], OnConflict.REPLACE)
        assert (answer.status, answer.run, answer.generation) == (EnqueueStatus.ACCEPTED, newer.run, 2)
        claim = await subject.take("key")
        assert (claim.function, claim.payload, claim.headers, claim.run) == ("other", b"newer", b"h", newer.run)
        assert (claim.attempt, claim.generation, claim.delivery) == (4, 2, 1)
        await subject.advance(HOUR)
        assert [later.token for later in await subject.claim()] != [claim.token]

    async def test_replace_adds_what_is_unknown(self, subject: Subject) -> None:
        """REPLACE adds where there is nothing."""
        await subject.replace("key")
        await subject.take("key")

    async def test_replace_can_put_off(self, subject: Subject) -> None:
        """What was ready and is replaced by something later is not claimed before."""
        await subject.add("key")
        await subject.backend.schedule([subject.task("key", delay=SECOND)], OnConflict.REPLACE)
        assert await subject.claim() == []
        await subject.advance(SECOND)
        await subject.take("key")

    async def test_repeated_add_changes_nothing(self, subject: Subject) -> None:
        """A task whose `run` is the live or last part's own answers as the first time and changes nothing."""
        task = subject.task("key")
        [first] = await subject.backend.enqueue([task])
        for on_conflict in OnConflict:
            [again] = await subject.backend.enqueue([task], on_conflict)
            assert again == first
        claim = await subject.take("key")
        for on_conflict in OnConflict:
            [again] = await subject.backend.enqueue([task], on_conflict)
            assert (again.status, again.run, again.generation) == (EnqueueStatus.ACCEPTED, task.run, 1)
        await subject.end(claim)
        for on_conflict in OnConflict:
            [again] = await subject.backend.enqueue([task], on_conflict)
            assert (again.status, again.run) == (EnqueueStatus.ACCEPTED, task.run)
        assert await subject.state() is State.COMPLETED
        assert await subject.claim() == []

    async def test_key_that_is_its_runs_own_id(self, subject: Subject) -> None:
        """A key that is the run's id is one like any other: it may be there already, alone or among new ones."""
        own, other = (subject.task(key) for key in ("own", "other"))
        own, other = own._replace(key=own.run), other._replace(key=other.run)
        [first] = await subject.backend.enqueue([own])
        assert (first.status, first.run, first.generation) == (EnqueueStatus.ACCEPTED, own.run, 1)
        assert await subject.backend.enqueue([own]) == [first]
        repeated, new = await subject.backend.enqueue([own, other])
        assert repeated == first
        assert (new.status, new.run, new.generation) == (EnqueueStatus.ACCEPTED, other.run, 1)
        taken = subject.task(uuid4().hex)
        await subject.backend.enqueue([taken])
        third = subject.task("third")
        for tasks in ([taken._replace(run=taken.key)], [taken._replace(run=taken.key), third._replace(key=third.run)]):
            answers = await subject.backend.enqueue(tasks)
            assert (answers[0].status, answers[0].run) == (EnqueueStatus.EXISTS, taken.run)
        assert {claim.run for claim in await subject.claim(9)} == {own.run, other.run, taken.run, third.run}

    async def test_key_is_free_right_after_its_end(self, subject: Subject) -> None:
        """The last part does not block: the key is free right after an end, a cancel or a clear."""
        await subject.end(await subject.running())
        [again] = await subject.add("key")
        assert again.generation == 2
        await subject.backend.cancel(["key"])
        await subject.add("key")
        assert await subject.backend.clear() == 1
        await subject.add("key")
        assert (await subject.take("key")).delivery == 1

    async def test_two_items_on_one_key_apply_in_order(self, subject: Subject) -> None:
        """Two items on one key apply in order."""
        first, second = subject.task("key", payload=b"1"), subject.task("key", payload=b"2")
        answers = await subject.backend.enqueue([first, second])
        assert [answer.status for answer in answers] == [EnqueueStatus.ACCEPTED, EnqueueStatus.EXISTS]
        assert answers[1].run == first.run
        third, fourth = subject.task("key", payload=b"3"), subject.task("key", payload=b"4")
        answers = await subject.backend.enqueue([third, fourth], OnConflict.REPLACE)
        assert [(answer.status, answer.generation) for answer in answers] == [
            (EnqueueStatus.ACCEPTED, 2),
            (EnqueueStatus.ACCEPTED, 3),
        ]
        assert (await subject.take("key")).payload == b"4"

    async def test_of_many_adds_one_is_accepted(self, subject: Subject) -> None:
        """Of many racing adds of a key exactly one is accepted, and the others are told which."""
        backends = [subject.backend, await subject.another()]
        answers = await asyncio.gather(
            *(backends[number % 2].enqueue([subject.task("key", payload=b"%d" % number)]) for number in range(32))
        )
        statuses = [answer.status for [answer] in answers]
        assert statuses.count(EnqueueStatus.ACCEPTED) == 1
        assert statuses.count(EnqueueStatus.EXISTS) == 31
        assert len({answer.run for [answer] in answers}) == 1
        await subject.take("key")
        assert await subject.claim() == []


class TestClaiming(Requirements):
    async def test_claim_tells_all_of_the_task(self, subject: Subject) -> None:
        """A claim carries the task, its identity, its counters and its lease."""
        task = subject.task("key", payload=b"\x00\xff", headers=b"\x00h", attempt=2)
        await subject.backend.enqueue([task])
        claim = await subject.take("key", lease=7 * SECOND)
        now = subject.now
        assert claim == Claim(
            *("key", 1, claim.token, "work", b"\x00\xff", b"\x00h", task.run, now, 1, 2, now, now + 7 * SECOND)
        )
        assert claim.token > 0

    async def test_nothing_is_granted_twice(self, subject: Subject) -> None:
        """What is held under a lease is not granted again; one holder per key, always."""
        other = await subject.another()
        await subject.running()
        assert await subject.claim() == []
        assert await subject.claim(by=other) == []
        await subject.advance(LEASE - SECOND)
        assert await subject.claim(by=other) == []

    async def test_racing_claims_share_the_work(self, subject: Subject) -> None:
        """Each ready task is granted to one of many racing claims, under a token of its own."""
        keys = [f"key-{number:02}" for number in range(40)]
        await subject.add(*keys)
        backends = [subject.backend, await subject.another()]
        claims: list[Claim] = []
        while len(claims) < len(keys):
            portions = await asyncio.gather(*(subject.claim(3, by=backends[number % 2]) for number in range(8)))
            before = len(claims)
            claims += [claim for portion in portions for claim in portion]
            assert len(claims) > before
        assert sorted(claim.key for claim in claims) == keys
        assert len({claim.token for claim in claims}) == len(keys)

    async def test_limit_bounds_a_claim(self, subject: Subject) -> None:
        """Take up to `limit` ready tasks; `limit` 0 answers no claims."""
        await subject.add("a", "b", "c")
        assert await subject.claim(0) == []
        assert len(await subject.claim(2)) == 2
        assert len(await subject.claim(2)) == 1
        assert await subject.claim(2) == []

    async def test_only_functions_asked_for(self, subject: Subject) -> None:
        """A task of another function stays for a worker that has it."""
        await subject.add("mine", function="mine")
        await subject.add("theirs", function="theirs")
        assert [claim.key for claim in await subject.claim(functions={"mine", "unknown"})] == ["mine"]
        assert await subject.claim(functions={"mine"}) == []
        assert await subject.claim(functions=set()) == []
        assert await subject.state("theirs") is State.QUEUED
        assert [claim.key for claim in await subject.claim(functions={"theirs"})] == ["theirs"]

    async def test_known_task_behind_many_unknown(self, subject: Subject) -> None:
        """A task of another function stays, and any number of them does not keep back what is asked for."""
        await subject.add(*(f"unknown-{number}" for number in range(300)), function="unknown")
        await subject.add("known", function="known")
        assert [claim.key for claim in await subject.claim(1, {"known"})] == ["known"]

    async def test_order_within_a_function(self, subject: Subject) -> None:
        """Within one function tasks are claimed in the order they became ready."""
        await subject.later("third", delay=3 * SECOND)
        await subject.later("second", delay=2 * SECOND)
        await subject.advance(SECOND)
        await subject.add("first")
        await subject.advance(3 * SECOND)
        await subject.add("fourth")
        order = [(await subject.claim(1))[0].key for _ in range(2)] + [claim.key for claim in await subject.claim()]
        assert order == ["first", "second", "third", "fourth"]

    async def test_past_moment_does_not_jump_the_queue(self, subject: Subject) -> None:
        """A moment in the past is due now: it became ready now, behind what was ready before."""
        await subject.add("before")
        await subject.advance(SECOND)
        await subject.backend.schedule([subject.task("past", when=subject.now - HOUR)])
        assert [claim.key for claim in await subject.claim(1)] == ["before"]

    async def test_no_function_starves(self, subject: Subject) -> None:
        """Across functions nobody starves."""
        await subject.add("rare", function="rare")
        await subject.advance(SECOND)
        await subject.add(*(f"flood-{number}" for number in range(20)), function="flood")
        taken: set[str] = set()
        for round_ in range(20):
            taken |= {claim.key for claim in await subject.claim(2)}
            await subject.advance(SECOND)
            await subject.add(f"more-{round_}-1", f"more-{round_}-2", function="flood")
        assert "rare" in taken

    async def test_expired_leases_first(self, subject: Subject) -> None:
        """Expired leases first."""
        await subject.running("lapsed")
        await subject.add("ready")
        await subject.advance(LEASE)
        assert [claim.key for claim in await subject.claim(1)] == ["lapsed"]
        assert [claim.key for claim in await subject.claim(1)] == ["ready"]

    async def test_next_at_is_a_due_time(self, subject: Subject) -> None:
        """`next_at` is the earliest of: a due time …, for the functions asked; None: nothing."""
        assert (await subject.backend.claim("worker", None, 1, LEASE)).next_at is None
        await subject.later("key", delay=HOUR, function="mine")
        await subject.later("sooner", delay=SECOND, function="theirs")
        claimed = await subject.backend.claim("worker", {"mine"}, 1, LEASE)
        assert claimed.now == subject.now
        assert_leads_to(claimed, subject.now + HOUR)
        assert (await subject.backend.claim("worker", {"nobody's"}, 1, LEASE)).next_at is None
        assert_leads_to(await subject.backend.claim("worker", None, 1, LEASE), subject.now + SECOND)

    async def test_next_at_is_a_leases_end(self, subject: Subject) -> None:
        """`next_at` is the earliest of: … a lease's end (other workers' too)."""
        await subject.running(lease=9 * SECOND)
        other = await subject.another()
        claimed = await other.claim("other", {"work"}, 1, LEASE)
        assert_leads_to(claimed, subject.now + 9 * SECOND)
        assert (await other.claim("other", {"nobody's"}, 1, LEASE)).next_at is None

    async def test_next_at_is_now_when_work_was_left(self, subject: Subject) -> None:
        """What the limit has left behind can be claimed at once."""
        await subject.add("a", "b")
        claimed = await subject.backend.claim("worker", None, 1, LEASE)
        assert claimed.next_at is not None
        assert claimed.next_at <= subject.now

    async def test_tokens_increase(self, subject: Subject) -> None:
        """A token is strictly increasing within a docket: over keys, instances and ends."""
        other = await subject.another()
        tokens: list[int] = []
        for number in range(6):
            await subject.add(f"key-{number}")
            [claim] = await subject.claim(by=other if number % 2 else subject.backend)
            tokens.append(claim.token)
            if number % 3:
                await subject.ack(Ack.complete(claim))
        assert tokens == sorted(set(tokens))

    async def test_empty_batches(self, subject: Subject) -> None:
        """An empty batch answers nothing."""
        backend = subject.backend
        assert list(await backend.enqueue([])) == []
        assert list(await backend.schedule([])) == []
        assert list(await backend.renew([], LEASE)) == []
        assert list(await backend.ack([])) == []
        assert list(await backend.cancel([])) == []
        assert list(await backend.acquire([])) == []
        assert list(await backend.release([])) == []
        assert list(await backend.progress([])) == []
        assert list(await backend.get([])) == []
