"""Presence: which workers live, and what they can run."""

from docket_core.backend.clock import SECOND
from docket_core.backend.records import WorkerRecord
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import Subject


class TestWorkers(Requirements):
    async def names(self, subject: Subject, function: str | None = None) -> set[str]:
        return {record.name for record in await subject.backend.workers(function)}

    async def test_heartbeat_shows_a_worker(self, subject: Subject) -> None:
        """Say that a worker lives, and what it can run."""
        assert list(await subject.backend.workers()) == []
        await subject.backend.heartbeat("host#1", {"a", "b"}, 10 * SECOND)
        other = await subject.another()
        assert list(await other.workers()) == [WorkerRecord("host#1", frozenset({"a", "b"}), subject.now)]

    async def test_forgotten_after_its_ttl(self, subject: Subject) -> None:
        """Forgotten after `ttl` unless it is said again."""
        await subject.backend.heartbeat("one", {"a"}, 10 * SECOND)
        await subject.backend.heartbeat("two", {"a"}, 10 * SECOND)
        await subject.advance(6 * SECOND)
        await subject.backend.heartbeat("two", {"a"}, 10 * SECOND)
        await subject.advance(4 * SECOND)
        assert list(await subject.backend.workers()) == [
            WorkerRecord("two", frozenset({"a"}), subject.now - 4 * SECOND)
        ]
        assert await self.names(subject, "a") == {"two"}

    async def test_by_function(self, subject: Subject) -> None:
        """With `function`, those that can run it."""
        await subject.backend.heartbeat("one", {"a", "b"}, 10 * SECOND)
        await subject.backend.heartbeat("two", {"b"}, 10 * SECOND)
        await subject.backend.heartbeat("none", set(), 10 * SECOND)
        assert await self.names(subject, "a") == {"one"}
        assert await self.names(subject, "b") == {"one", "two"}
        assert await self.names(subject, "c") == set()
        assert await self.names(subject) == {"one", "two", "none"}

    async def test_functions_may_change(self, subject: Subject) -> None:
        """The newest heartbeat counts."""
        await subject.backend.heartbeat("one", {"a"}, 10 * SECOND)
        await subject.backend.heartbeat("one", {"b"}, 10 * SECOND)
        assert await self.names(subject, "a") == set()
        assert await self.names(subject, "b") == {"one"}

    async def test_retired_is_gone(self, subject: Subject) -> None:
        """Say that a worker has ended; retiring one that is not there is no error."""
        await subject.backend.heartbeat("one", {"a"}, 10 * SECOND)
        await subject.backend.retire("one")
        await subject.backend.retire("one")
        assert await self.names(subject) == set()
        assert await self.names(subject, "a") == set()
