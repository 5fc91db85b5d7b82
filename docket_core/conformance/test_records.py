"""Readers: get, scan and counts."""

from collections.abc import Set as AbstractSet

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Gate
from docket_core.backend.records import FunctionCounts, Live
from docket_core.backend.states import LIVE, TERMINAL, State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, slot

ONE = Gate("gate", 1)


async def scanned(subject: Subject, states: AbstractSet[State], limit: int = 3) -> list[str]:
    keys: list[str] = []
    after: str | None = None
    while True:
        page = await subject.backend.scan(states, limit, after)
        assert len(page.records) <= limit
        keys += [record.key for record in page.records]
        after = page.after
        if after is None:
            return keys


class TestRecords(Requirements):
    async def test_pending_record(self, subject: Subject) -> None:
        """What is kept of a key: a pending one has no claim's fields."""
        task = subject.task("key", payload=b"\x00p", headers=b"\xffh", delay=SECOND, attempt=2)
        await subject.backend.schedule([task])
        record = await subject.record()
        assert record is not None
        assert (record.key, record.last, record.hold) == ("key", None, None)
        assert record.live == Live(
            *(State.SCHEDULED, "work", b"\x00p", b"\xffh", task.run, 1, 2, 0, subject.now + SECOND)
        )

    async def test_running_record(self, subject: Subject) -> None:
        """worker, token, started_at, lease_until: of the present claim."""
        claim = await subject.running()
        await subject.advance(SECOND)
        record = await subject.record(by=await subject.another())
        assert record is not None
        assert record.live is not None
        live = record.live
        assert (live.state, live.delivery, live.worker, live.token) == (State.RUNNING, 1, "worker", claim.token)
        assert (live.started_at, live.lease_until) == (claim.claimed_at, claim.lease_until)
        assert not live.cancel_requested

    async def test_queued_is_a_matter_of_time(self, subject: Subject) -> None:
        """QUEUED against SCHEDULED is a matter of time: no mover process is required."""
        await subject.later("key", delay=SECOND)
        assert await subject.state() is State.SCHEDULED
        await subject.advance(SECOND)
        assert await subject.state() is State.QUEUED
        assert await scanned(subject, {State.QUEUED}) == ["key"]
        assert await scanned(subject, {State.SCHEDULED}) == []
        assert list(await subject.backend.counts()) == [FunctionCounts("work", queued=1)]

    async def test_replies_are_positional(self, subject: Subject) -> None:
        """One per item; None where nothing is kept."""
        await subject.add("a", "b")
        records = await subject.backend.get(["b", "nobody's", "a", "b"])
        assert [record and record.key for record in records] == ["b", None, "a", "b"]

    async def test_live_and_last_stand_side_by_side(self, subject: Subject) -> None:
        """At most one live part, one last part: a new run does not hide the outcome of the one before."""
        first = await subject.running()
        await subject.ack(Ack.complete(first, b"result"))
        [second] = await subject.add("key")
        record = await subject.record()
        assert record is not None
        assert record.live is not None
        assert record.last is not None
        assert (record.live.run, record.live.generation) == (second.run, 2)
        assert (record.last.run, record.last.result) == (first.run, b"result")

    async def test_scan_by_state(self, subject: Subject) -> None:
        """Records with a part in one of these states, whole; a hold counts as RUNNING."""
        await subject.ack(Ack.complete(await subject.running("completed")))
        await subject.ack(Ack.fail(await subject.running("failed"), "error"))
        await subject.later("cancelled")
        await subject.backend.cancel(["cancelled"])
        await subject.acquire(slot(await subject.running("running"), ONE))
        await subject.parked("parked", ONE)
        await subject.running("held")
        await subject.replace("held")
        await subject.later("scheduled")
        await subject.add("queued")
        expected = {
            State.COMPLETED: {"completed"},
            State.FAILED: {"failed"},
            State.CANCELLED: {"cancelled"},
            State.RUNNING: {"running", "held"},
            State.SCHEDULED: {"scheduled", "parked"},
            State.QUEUED: {"queued", "held"},
        }
        for state, keys in expected.items():
            found = await scanned(subject, {state})
            assert len(found) == len(set(found))
            assert set(found) == keys
        assert set(await scanned(subject, LIVE | TERMINAL)) == set().union(*expected.values())
        assert await scanned(subject, set()) == []

    async def test_scan_tells_whole_records(self, subject: Subject) -> None:
        """A record found by its last part is told with its live part, as `get` tells it."""
        await subject.end(await subject.running())
        await subject.later("key")
        page = await subject.backend.scan({State.COMPLETED}, 10)
        assert list(page.records) == [await subject.record()]

    async def test_scan_in_pages(self, subject: Subject) -> None:
        """A portion of a scan; what is there from the first page to the last is told once."""
        keys = {f"key-{number:02}" for number in range(17)}
        await subject.add(*keys)
        for limit in (1, 4, 17, 18):
            found = await scanned(subject, {State.QUEUED}, limit)
            assert len(found) == 17
            assert set(found) == keys

    async def test_scan_while_things_change(self, subject: Subject) -> None:
        """In a stable order: what comes and goes meanwhile neither hides nor doubles what stays."""
        staying = {f"stay-{number:02}" for number in range(9)}
        await subject.add(*staying)
        await subject.later(*(f"go-{number:02}" for number in range(9)), function="other")
        states = {State.QUEUED, State.SCHEDULED}
        found: list[str] = []
        after: str | None = None
        for number in range(99):
            page = await subject.backend.scan(states, 2, after)
            found += [record.key for record in page.records]
            after = page.after
            if after is None:
                break
            await subject.backend.cancel([f"go-{number:02}"])
            await subject.later(f"come-{number:02}", function="other")
        assert after is None
        assert len(found) == len(set(found))
        assert staying <= set(found)

    async def test_counts(self, subject: Subject) -> None:
        """How many live tasks there are of each function; parked in `parked` only, a hold as running."""
        assert list(await subject.backend.counts()) == []
        await subject.acquire(slot(await subject.running("running", function="f"), ONE))
        await subject.parked("parked", ONE, function="f")
        await subject.running("held", function="f")
        await subject.replace("held", "g")
        await subject.later("s1", "s2", function="f")
        await subject.add("q1", "q2", "q3", function="f")
        counts = {row.function: row for row in await subject.backend.counts()}
        assert counts == {
            "f": FunctionCounts("f", scheduled=2, queued=3, running=2, parked=1),
            "g": FunctionCounts("g", queued=1),
        }

    async def test_a_lapsed_hold_is_counted_no_more(self, subject: Subject) -> None:
        """Exactly: a hold counts as running until its lease's end, and the newer task all the time."""
        await subject.running()
        await subject.replace("key", "newer")
        rows = [FunctionCounts("newer", queued=1), FunctionCounts("work", running=1)]
        assert sorted(await subject.backend.counts()) == rows
        await subject.advance(LEASE)
        assert list(await subject.backend.counts()) == rows[:1]

    async def test_counts_forget_what_has_ended(self, subject: Subject) -> None:
        """For each function that has any."""
        await subject.end(await subject.running())
        assert list(await subject.backend.counts()) == []

    async def test_lapsed_counts_as_running(self, subject: Subject) -> None:
        """Its lease has run out, nobody took it yet: still a running task to every reader."""
        await subject.running()
        await subject.advance(2 * LEASE)
        assert list(await subject.backend.counts()) == [FunctionCounts("work", running=1)]
        assert await scanned(subject, {State.RUNNING}) == ["key"]
