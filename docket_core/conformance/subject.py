"""The backend under test, and the shorthands that all requirements share."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import count
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from docket_core.backend.capabilities import MEBIBYTE
from docket_core.backend.clock import SECOND, Clock, Micros
from docket_core.backend.model import (
    Ack,
    Acked,
    Claim,
    Claimed,
    Enqueued,
    EnqueueStatus,
    Gate,
    OnConflict,
    Permit,
    PermitRequest,
    PermitStatus,
    Task,
)
from docket_core.backend.protocol import Backend, Subscription
from docket_core.backend.records import Event, Record, StrikeEvent, Topic
from docket_core.backend.states import State
from docket_core.conformance.caller import Connect

LEASE: Micros = 30 * SECOND
RETENTION: Micros = 900 * SECOND
Item = TypeVar("Item")

Advance = Callable[[Micros], Awaitable[None]]
"""Moves the store's time on by so many microseconds."""
Disrupt = Callable[[], Awaitable[None]]
"""Breaks what connects the backend to its store, once; the store can be reached again soon after."""


class OpenBackend(Protocol):
    """Makes an instance of the backend under test, not yet entered."""

    def __call__(
        self, name: str, clock: Clock | None, *, retention: Micros = RETENTION, max_payload: int = MEBIBYTE
    ) -> Backend: ...


class Patience:
    """How long, in real seconds, a requirement waits for something that must come without the time moving on."""

    seconds = 10.0


async def within(happening: Awaitable[Item]) -> Item:
    """The outcome of what must happen without the time moving on; fails if it does not."""
    async with asyncio.timeout(Patience.seconds):
        return await happening


class Reader(Generic[Item]):
    """Collects what an endless iterator tells, and never cancels it in the middle."""

    def __init__(self, source: AsyncIterator[Item]) -> None:
        self.seen: list[Item] = []
        self._news = asyncio.Event()
        self._task = asyncio.ensure_future(self._read(source))

    async def _read(self, source: AsyncIterator[Item]) -> None:
        async for item in source:
            self.seen.append(item)
            self._news.set()

    async def until(self, condition: Callable[[list[Item]], bool]) -> list[Item]:
        """All that was seen, as soon as the condition holds for it."""

        async def look() -> list[Item]:
            while not condition(self.seen):
                if self._task.done():
                    raise AssertionError(f"the iterator ended, having told only {self.seen}")
                await self._news.wait()
                self._news.clear()
            return self.seen

        return await within(look())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Subject:
    """One docket of the backend under test, with one instance open; `another` stands for a second process."""

    def __init__(
        self,
        opener: OpenBackend,
        clock: Clock,
        advance: Advance,
        disrupt: Disrupt | None = None,
        connect: Connect | None = None,
        open_limited: OpenBackend | None = None,
        retention: Micros = RETENTION,
    ) -> None:
        self.opener = opener
        self.clock = clock
        self.advance = advance
        self.retention = retention
        self.name = f"conformance-{uuid4().hex}"
        self._disrupt = disrupt
        self._connect = connect
        self._open_limited = open_limited
        self._stack = AsyncExitStack()
        self._runs = count(1)
        self.backend = opener(self.name, clock, retention=retention)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.backend)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def now(self) -> Micros:
        return self.clock.now()

    async def disrupt(self) -> None:
        """Break the way to the store, as the `disrupt` fixture does."""
        if self._disrupt is None:
            raise AssertionError("this requirement is marked as one that needs `disrupt`, and was run without")
        await self._disrupt()

    def connect(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A caller's own connection to the store, as the `connect` fixture opens it."""
        if self._connect is None:
            raise AssertionError("this requirement is marked as one that needs `connect`, and was run without")
        return self._connect()

    async def another(self, name: str | None = None) -> Backend:
        """A second instance, on the same docket or on one of another name in the same store."""
        return await self._stack.enter_async_context(
            self.opener(name or self.name, self.clock, retention=self.retention)
        )

    async def fresh(self, *, retention: Micros = RETENTION, max_payload: int = MEBIBYTE) -> Backend:
        """An instance on a docket of its own."""
        name = f"{self.name}-{next(self._runs)}"
        return await self._stack.enter_async_context(
            self.opener(name, self.clock, retention=retention, max_payload=max_payload)
        )

    async def limited(self, *, retention: Micros = RETENTION) -> Backend:
        """An instance on a docket of its own, in the store that `open_limited` makes."""
        if self._open_limited is None:
            raise AssertionError("this requirement is marked as one that needs `open_limited`, and was run without")
        name = f"{self.name}-{next(self._runs)}"
        return await self._stack.enter_async_context(self._open_limited(name, self.clock, retention=retention))

    # --- adding and claiming ----------------------------------------------------------------------

    def task(
        self,
        key: str = "key",
        function: str = "work",
        *,
        payload: bytes = b"payload",
        headers: bytes = b"",
        when: Micros | None = None,
        delay: Micros | None = None,
        attempt: int = 1,
    ) -> Task:
        """A task with a run of its own."""
        return Task(key, function, payload, f"run-{next(self._runs)}-{uuid4().hex}", headers, when, delay, attempt)

    async def add(self, *keys: str, function: str = "work") -> list[Enqueued]:
        """Enqueue these keys; all must be accepted."""
        answers = await self.backend.enqueue([self.task(key, function) for key in keys])
        assert [answer.status for answer in answers] == [EnqueueStatus.ACCEPTED] * len(keys)
        return list(answers)

    async def later(self, *keys: str, delay: Micros = 3600 * SECOND, function: str = "work") -> None:
        """Schedule these keys; all must be accepted."""
        answers = await self.backend.schedule([self.task(key, function, delay=delay) for key in keys])
        assert [answer.status for answer in answers] == [EnqueueStatus.ACCEPTED] * len(keys)

    async def replace(self, key: str, function: str = "work") -> Enqueued:
        """Replace what is under the key by something that is ready now."""
        [answer] = await self.backend.enqueue([self.task(key, function)], OnConflict.REPLACE)
        assert answer.status is EnqueueStatus.ACCEPTED
        return answer

    async def claim(
        self,
        limit: int = 100,
        functions: AbstractSet[str] | None = None,
        *,
        lease: Micros = LEASE,
        max_deliveries: int | None = None,
        worker: str = "worker",
        by: Backend | None = None,
    ) -> list[Claim]:
        """What one claim brings."""
        claimed = await (by or self.backend).claim(worker, functions, limit, lease, max_deliveries)
        return list(claimed.claims)

    async def take(
        self, key: str, *, lease: Micros = LEASE, worker: str = "worker", by: Backend | None = None
    ) -> Claim:
        """Claim, where nothing but this key must be there."""
        claims = await self.claim(lease=lease, worker=worker, by=by)
        assert [claim.key for claim in claims] == [key]
        return claims[0]

    async def running(self, key: str = "key", *, function: str = "work", lease: Micros = LEASE) -> Claim:
        """Add a key and claim it."""
        await self.add(key, function=function)
        return await self.take(key, lease=lease)

    async def taken_over(self, key: str = "key") -> tuple[Claim, Claim]:
        """A zombie's claim, and the claim of the one that has taken over from it."""
        zombie = await self.running(key)
        await self.advance(LEASE)
        return zombie, await self.take(key, worker="other")

    async def ack(self, ack: Ack, by: Backend | None = None) -> Acked:
        [answer] = await (by or self.backend).ack([ack])
        return answer

    async def end(self, claim: Claim) -> None:
        """Complete what was claimed."""
        assert await self.ack(Ack.complete(claim)) is Acked.ACKED

    # --- permits ----------------------------------------------------------------------------------

    async def acquire(self, *requests: PermitRequest) -> Permit:
        """Ask for one task's permits; the answer to the first of them."""
        answers = await self.backend.acquire(requests)
        assert len(answers) == len(requests)
        return answers[0]

    async def parked(self, key: str, gate: Gate, *, function: str = "work") -> PermitRequest:
        """Add a key, claim it, be denied at the gate and park there."""
        claim = await self.running(key, function=function)
        request = slot(claim, gate)
        assert (await self.acquire(request)).status is PermitStatus.DENIED
        assert await self.ack(Ack.park(claim, request)) is Acked.ACKED
        return request

    # --- reading ----------------------------------------------------------------------------------

    async def record(self, key: str = "key", by: Backend | None = None) -> Record | None:
        [record] = await (by or self.backend).get([key])
        return record

    async def state(self, key: str = "key") -> State | None:
        """The live part's state; without one, the last part's."""
        record = await self.record(key)
        if record is None:
            return None
        part = record.live or record.last
        return part.state if part is not None else State.RUNNING

    async def states(self, *keys: str) -> list[State | None]:
        return [await self.state(key) for key in keys]

    @asynccontextmanager
    async def listening(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None = None, by: Backend | None = None
    ) -> AsyncGenerator[tuple[Subscription, Reader[Event]], None]:
        """A subscription, and the reader of its events."""
        async with (by or self.backend).subscribe(topics, keys) as subscription:
            reader = Reader[Event](aiter(subscription))
            try:
                yield subscription, reader
            finally:
                await reader.close()

    @asynccontextmanager
    async def striking(self, by: Backend | None = None) -> AsyncGenerator[Reader[StrikeEvent], None]:
        """The reader of a docket's strikes."""
        async with (by or self.backend).strikes() as events:
            reader = Reader[StrikeEvent](events)
            try:
                yield reader
            finally:
                await reader.close()


def assert_leads_to(claimed: Claimed, moment: Micros) -> None:
    """`next_at` is a bound from below: it may be early, but lies ahead, and is never late."""
    assert claimed.next_at is not None
    assert claimed.now < claimed.next_at <= moment


def slot(claim: Claim, gate: Gate, *, ttl: Micros = LEASE) -> PermitRequest:
    """A request as a concurrency limit makes it: held by the key, bound to the lease."""
    return PermitRequest(claim, gate, claim.key, ttl, bound=True)


def turn(claim: Claim, gate: Gate, ttl: Micros, holder: str = "") -> PermitRequest:
    """A request as a rate limit or a cooldown makes it: it outlives the task and is never released."""
    return PermitRequest(claim, gate, holder or f"{claim.key}/{claim.run}/{claim.attempt}", ttl)


def started(happening: Coroutine[None, None, Item]) -> "asyncio.Task[Item]":
    """Begin something that is to go on beside the test."""
    return asyncio.ensure_future(happening)
