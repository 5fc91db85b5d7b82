"""Errors: the closed set, and what an instance shows of itself."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from docket_core.backend.capabilities import Durability
from docket_core.backend.clock import SECOND
from docket_core.backend.model import EnqueueStatus
from docket_core.backend.protocol import Backend
from docket_core.backend.states import LIVE
from docket_core.conformance.marks import Requirements, needs_disrupt
from docket_core.conformance.subject import LEASE, Subject, within
from docket_core.errors import BackendUnavailable, CapabilityMissing, ConfigurationError


class TestErrors(Requirements):
    async def test_join_is_refused_early(self, subject: Subject) -> None:
        """Raises `CapabilityMissing` unless transactional, and `ConfigurationError` for a useless connection."""
        transactional = subject.backend.capabilities.transactional
        with pytest.raises(ConfigurationError if transactional else CapabilityMissing, match=r"\w+ \w+"):
            async with subject.backend.join(object()):
                pass

    async def test_no_secret_is_shown(self, subject: Subject) -> None:
        """URLs are redacted in every repr, log and message."""
        assert subject.backend.url in repr(subject.backend)
        assert "://" in subject.backend.url
        userinfo, at, _ = subject.backend.url.partition("://")[2].rpartition("@")
        assert not at or userinfo.partition(":")[2] in ("", "***")

    async def test_capabilities_are_told(self, subject: Subject) -> None:
        """What this backend can do, as it was opened; complete once it is open."""
        capabilities = subject.backend.capabilities
        assert capabilities.durability in Durability
        assert capabilities.time_resolution >= 1
        assert capabilities.max_payload >= 1
        assert subject.backend.capabilities == capabilities
        if not capabilities.durable:
            assert capabilities.durability is Durability.NONE

    async def test_is_a_backend(self, subject: Subject) -> None:
        """Every operation of the protocol is there, and the instance knows its docket and its clock."""
        assert isinstance(subject.backend, Backend)
        assert subject.backend.name == subject.name
        assert subject.backend.clock.now() == subject.now

    async def test_operations_on_one_loop_run_concurrently(self, subject: Subject) -> None:
        """Its operations may be called concurrently on its loop."""
        backend = subject.backend
        keys = [f"key-{number:02}" for number in range(30)]
        answers = await asyncio.gather(*(backend.enqueue([subject.task(key)]) for key in keys))
        assert {answer.status for [answer] in answers} == {EnqueueStatus.ACCEPTED}
        portions = await asyncio.gather(*(subject.claim(5) for _ in range(12)), backend.counts(), backend.get(keys))
        assert sum(len(portion) for portion in portions[:12]) == 30

    async def test_cancelled_caller_loses_nothing(self, subject: Subject) -> None:
        """Cancelling a caller of anything but `wait` must lose nothing: what was begun is finished."""
        keys = [f"key-{number}" for number in range(20)]
        for key in keys:
            adding = asyncio.ensure_future(subject.backend.enqueue([subject.task(key)]))
            await asyncio.sleep(0)
            adding.cancel()
            with suppress(asyncio.CancelledError):
                await adding
            [answer] = await subject.backend.enqueue([subject.task(key)])
            assert answer.status in (EnqueueStatus.ACCEPTED, EnqueueStatus.EXISTS)
        assert sorted(claim.key for claim in await subject.claim()) == sorted(keys)

    @needs_disrupt
    async def test_no_drivers_error_leaks(self, subject: Subject) -> None:
        """What is raised is of `docket_core.errors`, and nothing else; an operation that raised may be repeated."""
        backend = subject.backend
        task = subject.task("key")
        operations: dict[str, Callable[[], Awaitable[object]]] = {
            "enqueue": lambda: backend.enqueue([task]),
            "claim": lambda: backend.claim("worker", None, 0, LEASE),
            "get": lambda: backend.get(["key"]),
            "scan": lambda: backend.scan(LIVE, 10),
            "counts": backend.counts,
            "heartbeat": lambda: backend.heartbeat("worker", {"work"}, 60 * SECOND),
            "workers": backend.workers,
            "strike": lambda: backend.strike("rule", b"instruction"),
            "prune": lambda: backend.prune(10),
        }
        for operation in operations.values():
            await subject.disrupt()

            async def repeated(operation: Callable[[], Awaitable[object]] = operation) -> None:
                while True:
                    try:
                        await operation()
                    except BackendUnavailable:
                        await asyncio.sleep(0.02)  # the store's own time, which no clock moves
                    else:
                        return

            await within(repeated())
        [claim] = await subject.claim()
        assert (claim.key, claim.run) == ("key", task.run)
