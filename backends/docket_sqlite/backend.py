"""The SQLite backend: each operation of the protocol as a job for the thread that writes, or the one that reads."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, cast

from docket_core.backend.capabilities import Capabilities, Durability
from docket_core.backend.clock import SYSTEM_CLOCK, Clock, Micros
from docket_core.backend.hookspecs import Opening
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Enqueued,
    EnqueueStatus,
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
from docket_core.backend.protocol import Enqueuer
from docket_core.backend.protocol import Subscription as SubscriptionProtocol
from docket_core.backend.records import FunctionCounts, Page, Record, StrikeEvent, Topic, WorkerRecord
from docket_core.backend.states import State
from docket_core.errors import Overloaded
from docket_sqlite import acking, clearing, ending, permits, readers
from docket_sqlite.adding import add
from docket_sqlite.claiming import Grants
from docket_sqlite.connection import File
from docket_sqlite.desk import Desk
from docket_sqlite.hub import Hub
from docket_sqlite.news import News
from docket_sqlite.strikes import StrikeReader, strike
from docket_sqlite.subscription import Subscription
from docket_sqlite.transaction import Transaction

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

PORTION = 1000
"""Items of one call that share a transaction."""

BEAT = """
INSERT INTO docket_workers (docket, name, functions, last_seen, expires_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (docket, name) DO UPDATE SET
    functions = excluded.functions, last_seen = excluded.last_seen, expires_at = excluded.expires_at
"""
RETIRE = "DELETE FROM docket_workers WHERE docket = ? AND name = ?"


class SqliteBackend:
    """One user of a file. Others may be in this process, in its other threads, and in other processes."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._clock = opening.clock or SYSTEM_CLOCK
        options = opening.options
        synchronous = cast("str", options["synchronous"])
        self._file = File(
            opening.url,
            synchronous,
            cast("int", options["busy_timeout"]) / 1000,
            cast("int | None", options["max_size"]),
        )
        self._desk = Desk(opening, self._file, self._clock, self._hear)
        self._hub = Hub(self._desk, self._clock)
        self._capabilities = Capabilities(
            durable=True,
            distributed=True,
            push=True,
            transactional=True,
            max_payload=opening.max_payload,
            durability=Durability.FSYNC if synchronous == "full" else Durability.PROCESS,
        )

    @property
    def name(self) -> str:
        return self._opening.name

    @property
    def url(self) -> str:
        """With the absolute path, whatever directory the relative one was meant in."""
        return self._file.url

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def __repr__(self) -> str:
        return f"<SqliteBackend {self.url} docket {self.name!r}>"

    async def __aenter__(self) -> Self:
        await self._desk.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._desk.hurry()
            await self._hub.close()
        finally:
            await self._desk.close()

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._add(tasks, on_conflict, at_once=True)

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._add(tasks, on_conflict, at_once=False)

    async def _add(self, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> Sequence[Enqueued]:
        answers: list[Enqueued] = []
        for portion in _portions(tasks):
            work = partial(add, tasks=portion, on_conflict=on_conflict, at_once=at_once)
            try:
                answers += await self._desk.write(work)
            except Overloaded as error:
                answers += [Enqueued(EnqueueStatus.REFUSED, task.run, error=error) for task in portion]
        return answers

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        await self._hub.listen()
        return await self._desk.write(
            lambda tx: Grants(tx, worker, limit, lease, max_deliveries).claim(functions), synced=False
        )

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        await self._hub.wait(functions, since if isinstance(since, int) else 0, until)

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        return await self._write(claims, lambda tx, portion: acking.renew(tx, portion, lease), synced=False)

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        return await self._write(acks, acking.ack)

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        return await self._write(keys, ending.cancel)

    async def clear(self) -> int:
        walk: clearing.Walk | None = clearing.Walk()
        cleared = 0
        while walk is not None:
            portion, walk = await self._desk.write(partial(clearing.step, walk=walk))
            cleared += portion
        return cleared

    async def prune(self, limit: int) -> int:
        return await self._desk.write(lambda tx: ending.prune(tx, limit), synced=False)

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        return await self._write_portion(requests, permits.acquire, synced=False) if requests else []

    async def release(self, requests: Sequence[PermitRequest]) -> Sequence[Released]:
        return await self._write(requests, permits.release, synced=False)

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        return await self._write(updates, acking.progress, synced=False)

    async def get(self, keys: Sequence[str]) -> Sequence[Record | None]:
        if not keys:
            return []
        return await self._desk.read(lambda executor: readers.get(executor, self._desk.docket, keys, self._clock.now()))

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        return await self._desk.read(
            lambda executor: readers.scan(executor, self._desk.docket, states, limit, after, self._clock.now())
        )

    async def counts(self) -> Sequence[FunctionCounts]:
        return await self._desk.read(lambda executor: readers.counts(executor, self._desk.docket, self._clock.now()))

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        names = json.dumps(sorted(functions))
        await self._desk.write(
            lambda tx: tx.execute(BEAT, (tx.docket, worker, names, tx.now, tx.now + ttl)), synced=False
        )

    async def retire(self, worker: str) -> None:
        await self._desk.write(lambda tx: tx.execute(RETIRE, (tx.docket, worker)), synced=False)

    async def workers(self, function: str | None = None) -> Sequence[WorkerRecord]:
        return await self._desk.read(
            lambda executor: readers.workers(executor, self._desk.docket, function, self._clock.now())
        )

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        return await self._desk.write(lambda tx: strike(tx, rule_id, instruction))

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[AsyncIterator[StrikeEvent], None]:
        reader = StrikeReader()
        await self._hub.follow_strikes(reader)
        try:
            yield aiter(reader)
        finally:
            await self._hub.unfollow_strikes(reader)

    @asynccontextmanager
    async def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AsyncGenerator[SubscriptionProtocol, None]:
        subscription = Subscription(topics, keys, self._hub.look_silently)
        await self._hub.subscribe(subscription)
        try:
            yield subscription
        finally:
            await self._hub.unsubscribe(subscription)

    def join(self, connection: object) -> AbstractAsyncContextManager[Enqueuer]:
        from docket_sqlite.joining import join  # noqa: PLC0415 - SQLAlchemy's and aiosqlite's loops: only who joins pays

        return join(connection, self._file, self._opening, self._clock)

    async def _write(
        self,
        items: Sequence[_Item],
        work: Callable[[Transaction, Sequence[_Item]], Sequence[_Result]],
        *,
        synced: bool = True,
    ) -> Sequence[_Result]:
        """Apply items in their order, in portions that keep the lock for a short time only."""
        answers: list[_Result] = []
        for portion in _portions(items):
            answers += await self._write_portion(portion, work, synced=synced)
        return answers

    async def _write_portion(
        self,
        items: Sequence[_Item],
        work: Callable[[Transaction, Sequence[_Item]], Sequence[_Result]],
        *,
        synced: bool,
    ) -> Sequence[_Result]:
        return await self._desk.write(lambda tx: work(tx, items), synced=synced)

    def _hear(self, news: News) -> None:
        self._hub.hear(news)


def _portions(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), PORTION):
        yield items[start : start + PORTION]
