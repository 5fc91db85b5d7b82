"""The Postgres backend: the protocol over functions in the database, one round trip each."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from docket_core.backend.capabilities import Capabilities, Durability
from docket_core.backend.clock import SYSTEM_CLOCK, Clock, Micros
from docket_core.backend.finishing import Finishing
from docket_core.backend.hookspecs import Opening
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Enqueued,
    Mark,
    OnConflict,
    Permit,
    PermitRequest,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
    Take,
    Task,
)
from docket_core.backend.protocol import Enqueuer, Subscription
from docket_core.backend.records import FunctionCounts, Page, Record, StrikeEvent, Topic, WorkerRecord
from docket_core.backend.states import State
from docket_postgres import operations
from docket_postgres.enqueuing import PostgresEnqueuer
from docket_postgres.hints import Hints, News, Seen
from docket_postgres.settings import settings_of
from docket_postgres.store import Store
from docket_postgres.strikes import StrikeReader
from docket_postgres.subscription import PostgresSubscription
from docket_postgres.watchers import Watchers

Result = TypeVar("Result")
_PATIENCE = 0.8
"""Seconds that closing waits for operations under way whose callers have gone."""


class PostgresBackend:
    """One docket in a Postgres database: a few connections for work, one that keeps leases alive, one that listens."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._settings = settings_of(opening)
        self._clock = opening.clock or SYSTEM_CLOCK
        self._store = Store(self._settings, opening.retention, opening.max_payload, opening.clock)
        self._hints = Hints(self._settings)
        self._news = News()
        self._watchers = Watchers(self._store, uuid.uuid4().hex)
        self._enqueuer = PostgresEnqueuer(
            self._store.fetch, self._settings, opening.max_payload, self._store.now, alone=True
        )
        self._offset: Micros = 0
        """How far the store's time is ahead of the clock's."""
        self._is_waiting = False
        self._calls = 0
        """How many callers wait now."""
        self._quiet: asyncio.Event | None = None
        """Set once none does any more, while this closes."""
        self._under_way: set[asyncio.Task[Any]] = set()
        """What goes on without its caller."""
        self._capabilities = Capabilities(
            durable=True,
            distributed=True,
            push=self._settings.notify,
            transactional=True,
            max_payload=opening.max_payload,
            durability=Durability.FSYNC,
        )

    @property
    def name(self) -> str:
        return self._opening.name

    @property
    def url(self) -> str:
        return self._opening.url.redacted

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def __repr__(self) -> str:
        return f"<PostgresBackend {self.url} docket {self.name!r}>"

    async def __aenter__(self) -> Self:
        self._store.open()
        try:
            durability = await self._store.prepare()
        except BaseException:
            await self._store.close()
            raise
        self._capabilities = Capabilities(
            durable=True,
            distributed=True,
            push=self._settings.notify,
            transactional=True,
            max_payload=self._opening.max_payload,
            durability=durability,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as stack:  # whatever fails or is cancelled, the rest is closed
            stack.push_async_callback(self._store.close)
            stack.push_async_callback(self._settle)
            stack.push_async_callback(self._hints.close)
            stack.push_async_callback(self._watchers.close)
        self._hints, self._is_waiting = Hints(self._settings), False

    async def _settle(self) -> None:
        """Let what is under way come to its end, but do not wait for a server that does not answer."""
        if self._calls:
            self._quiet = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self._quiet.wait()
            self._quiet = None
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_PATIENCE)
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    # --- adding and taking ------------------------------------------------------------------------

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._finished(self._add(tasks, on_conflict, at_once=True)) if tasks else []

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._finished(self._add(tasks, on_conflict, at_once=False)) if tasks else []

    def _add(
        self, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool
    ) -> Coroutine[Any, Any, Sequence[Enqueued]]:
        adding = self._enqueuer.add(tasks, on_conflict, at_once=at_once)
        return adding if self._settings.notify else self._rung_for(adding)

    async def _rung_for(self, adding: Coroutine[Any, Any, Sequence[Enqueued]]) -> Sequence[Enqueued]:
        """Those who wait in this very instance need no notification."""
        answers = await adding
        self._news.heard(None)
        return answers

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        seen = Seen(self._news.mark, self._clock.now())
        claiming = operations.claim(self._store, worker, functions, limit, lease, max_deliveries, seen)
        claimed = await self._finished(claiming, self._left_claim)
        if self._opening.clock is None:
            self._offset = claimed.now - self._clock.now()
        return claimed

    def _left_claim(self, claiming: "asyncio.Task[Claimed]") -> None:
        self._adopt(claiming)
        claiming.add_done_callback(self._give_back)

    def _give_back(self, claiming: "asyncio.Task[Claimed]") -> None:
        """Nobody waits for these claims any more: release them, so that none stands until its lease ends."""
        if not claiming.cancelled() and claiming.exception() is None:
            claims = claiming.result().claims
            if claims:
                released = operations.ack(self._store, [Ack.release(claim) for claim in claims])
                self._adopt(asyncio.get_running_loop().create_task(released))

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._hints.add(self._settings.channel, self._news.heard)  # it rings when it is in force
        seen = since if isinstance(since, Seen) else Seen(self._news.mark, self._clock.now())
        await self._news.wait(functions, seen, until, self._clock, self._offset)

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        return await self._finished(operations.renew(self._store, claims, lease)) if claims else []

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        return await self._finished(operations.ack(self._store, acks)) if acks else []

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        return await self._finished(operations.cancel(self._store, keys)) if keys else []

    async def clear(self) -> int:
        return await self._finished(operations.clear(self._store))

    async def prune(self, limit: int) -> int:
        return await self._finished(operations.prune(self._store, limit))

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        return await self._finished(operations.acquire(self._store, requests)) if requests else []

    async def release(self, requests: Sequence[PermitRequest]) -> Sequence[Released]:
        return await self._finished(operations.release(self._store, requests)) if requests else []

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        return await self._finished(operations.progress(self._store, updates)) if updates else []

    # --- reading ----------------------------------------------------------------------------------

    async def get(self, keys: Sequence[str]) -> Sequence[Record | None]:
        return await self._finished(operations.get(self._store, keys)) if keys else []

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        return await self._finished(operations.scan(self._store, states, limit, after))

    async def counts(self) -> Sequence[FunctionCounts]:
        return await self._finished(operations.counts(self._store))

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        await self._finished(operations.heartbeat(self._store, worker, functions, ttl))

    async def retire(self, worker: str) -> None:
        await self._finished(operations.retire(self._store, worker))

    async def workers(self, function: str | None = None) -> Sequence[WorkerRecord]:
        return await self._finished(operations.workers(self._store, function))

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        return await self._finished(operations.strike(self._store, rule_id, instruction))

    # --- live -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[AsyncIterator[StrikeEvent], None]:
        """The rules in force, then every change."""

        read, read_after = partial(operations.strikes, self._store), partial(operations.strikes_after, self._store)
        reader = StrikeReader(read, read_after, self._hints.connected.is_set)
        channel = self._settings.channel + "s"
        await self._hints.listen(channel, reader.heard)
        await reader.start()
        try:
            yield aiter(reader)
        finally:
            self._hints.forget(channel, reader.heard)

    @asynccontextmanager
    async def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AsyncGenerator[Subscription, None]:
        """Live events."""
        subscription = PostgresSubscription(topics, keys, self.get, self._hints.connected.is_set)
        suffixes = {"c" if topic is Topic.CANCEL else "e" for topic in topics}
        try:
            for suffix in sorted(suffixes):
                await self._hints.listen(self._settings.channel + suffix, subscription.heard)
            await self._watchers.add(topics)
            subscription.started = True
            yield subscription
        finally:
            for suffix in suffixes:
                self._hints.forget(self._settings.channel + suffix, subscription.heard)
            await self._watchers.remove(topics)

    @asynccontextmanager
    async def join(self, connection: object) -> AsyncGenerator[Enqueuer, None]:
        """Put tasks into the caller's own transaction."""
        from docket_postgres.joining import joined  # noqa: PLC0415 - SQLAlchemy's asyncio: only who joins pays

        fetch = await joined(connection, self._settings.schema, self._store.identity)
        yield PostgresEnqueuer(fetch, self._settings, self._opening.max_payload, self._store.now, alone=False)

    # --- finishing what was begun -----------------------------------------------------------------

    def _adopt(self, task: "asyncio.Task[Any]") -> None:
        """Keep a task until it has ended."""
        self._under_way.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # it was told to whoever waited; a cancelled caller does not want to know

    async def _finished(
        self, work: Coroutine[Any, Any, Result], left: "Callable[[asyncio.Task[Result]], object] | None" = None
    ) -> Result:
        """The result of `work`, which goes on if the caller is cancelled: what was sent takes effect anyway."""
        self._calls += 1
        try:
            return await Finishing(work, left or self._adopt)
        finally:
            self._calls -= 1
            if not self._calls and self._quiet is not None:
                self._quiet.set()
