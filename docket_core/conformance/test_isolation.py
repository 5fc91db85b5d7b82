"""Isolation: two dockets on one store share nothing, and a key is just a key."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Gate, PermitStatus
from docket_core.backend.records import StateChanged, StrikesCaughtUp, Topic
from docket_core.backend.states import LIVE, TERMINAL, State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import Subject, slot

NAMES = (
    *("a", "a:b", "a{b}", "{a}", "a%", "%s", "a'b", 'a"b', "a;b--", "a\\b", "a b", "*", "?", "[a]", "a\u202eb"),
    *("\u00e4", "a\u0308", "A", "a/b", "../a", "docket", "tasks", "stream", "queue", "lease", "workers", "strikes"),
    *("__init__", "null", "None", "0", "\U0001f600", "k" * 512, "\u00e4" * 256),
)


class TestIsolation(Requirements):
    async def test_two_dockets_share_nothing(self, subject: Subject) -> None:
        """Two dockets on one store share nothing: tasks, gates, workers, strikes and events."""
        here, there = subject.backend, await subject.another(f"{subject.name}-there")
        async with subject.listening(frozenset(Topic), by=there) as (_, reader), subject.striking(by=there) as strikes:
            await strikes.until(bool)
            claim = await subject.running()
            assert (await subject.acquire(slot(claim, Gate("gate", 1)))).status is PermitStatus.GRANTED
            await here.heartbeat("worker", {"work"}, 60 * SECOND)
            await here.strike("rule", b"instruction")
            await subject.add("pending")
            assert list(await there.get(["key", "pending"])) == [None, None]
            assert list((await there.scan(LIVE | TERMINAL, 10)).records) == []
            assert list(await there.counts()) == []
            assert list(await there.workers()) == []
            claimed = await there.claim("worker", None, 10, 60 * SECOND)
            assert (list(claimed.claims), claimed.next_at) == ([], None)
            await there.enqueue([subject.task("key", "other")])
            [theirs] = (await there.claim("worker", None, 10, 60 * SECOND)).claims
            [permit] = await there.acquire([slot(theirs, Gate("gate", 1))])
            assert permit.status is PermitStatus.GRANTED
            await there.cancel(["pending", "key"])
            assert await there.clear() == 0
            await there.ack([Ack.complete(theirs)])
            await subject.advance(0)
            assert await subject.states("key", "pending") == [State.RUNNING, State.QUEUED]
            ended = await reader.until(
                lambda seen: any(isinstance(event, StateChanged) and event.state in TERMINAL for event in seen)
            )
            assert {event.run for event in ended if isinstance(event, StateChanged)} == {theirs.run}
            assert [type(event) for event in strikes.seen] == [StrikesCaughtUp]

    async def test_dockets_with_alike_names(self, subject: Subject) -> None:
        """Names that look alike, or like each other's parts, are different dockets."""
        names = [f"{subject.name}{end}" for end in ("", ":", ":a", "{}", "%", "_", "A", "a", "\u00e4", "a\u0308", "'")]
        backends = [await subject.another(name) for name in names]
        for name, backend in zip(names, backends, strict=True):
            assert backend.name == name
            await backend.enqueue([subject.task(f"only in {name}")])
        for name, backend in zip(names, backends, strict=True):
            claims = (await backend.claim("worker", None, 99, 60 * SECOND)).claims
            assert [claim.key for claim in claims] == [f"only in {name}"]

    async def test_any_text_is_a_key(self, subject: Subject) -> None:
        """A key named like one of the store's own is just a key: accepted verbatim."""
        await subject.add(*NAMES)
        assert {claim.key: claim.delivery for claim in await subject.claim(99)} == dict.fromkeys(NAMES, 1)
        page = await subject.backend.scan({State.RUNNING}, 99)
        assert {record.key for record in page.records} == set(NAMES)
        records = await subject.backend.get(NAMES)
        assert [record and record.key for record in records] == list(NAMES)

    async def test_any_text_is_a_function(self, subject: Subject) -> None:
        """User text stands only in value or suffix positions: functions and workers too."""
        for number, name in enumerate(NAMES):
            await subject.add(f"key-{number}", function=name)
        assert {row.function for row in await subject.backend.counts()} == set(NAMES)
        for number, name in enumerate(NAMES):
            [claim] = await subject.claim(functions={name}, worker=name)
            assert (claim.key, claim.function) == (f"key-{number}", name)
            await subject.backend.heartbeat(name, {name}, 60 * SECOND)
            assert [record.name for record in await subject.backend.workers(name)] == [name]

    async def test_any_bytes_are_a_payload(self, subject: Subject) -> None:
        """Payloads, results and headers are opaque bytes: a backend never looks into them."""
        everything = bytes(range(256)) + b"\x80\x04\x95junk"
        await subject.backend.enqueue([subject.task("key", payload=everything, headers=everything[::-1])])
        claim = await subject.take("key")
        assert (claim.payload, claim.headers) == (everything, everything[::-1])
        await subject.ack(Ack.complete(claim, everything))
        record = await subject.record()
        assert record is not None
        assert record.last is not None
        assert (record.last.payload, record.last.result) == (everything, everything)
