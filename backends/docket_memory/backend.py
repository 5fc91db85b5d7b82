"""The memory backend: the protocol over a `Store` that all backends of one URL and name share."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from heapq import nsmallest
from threading import Lock
from types import TracebackType
from typing import Self

from docket_core.backend.capabilities import Capabilities, Durability
from docket_core.backend.clock import SYSTEM_CLOCK, Clock, Micros
from docket_core.backend.hookspecs import Opening
from docket_core.backend.kit import groups, is_refused, wait_for_event
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Enqueued,
    OnConflict,
    Permit,
    PermitRequest,
    PermitStatus,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
    Take,
    Task,
)
from docket_core.backend.protocol import Enqueuer, Subscription
from docket_core.backend.records import (
    FunctionCounts,
    Page,
    Progress,
    ProgressMade,
    Record,
    StrikeEvent,
    Topic,
    WorkerRecord,
)
from docket_core.backend.states import State
from docket_core.errors import CapabilityMissing
from docket_memory.events import Listener, Mark, StrikeReader, Waiter
from docket_memory.store import Store

_RUNNING = State.RUNNING
_STORES: dict[tuple[str, str], Store] = {}
_STORES_LOCK = Lock()


class MemoryBackend:
    """One user of a store in this process. Each may be on an event loop, and in a thread, of its own."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._identity = (opening.url.text, opening.name)
        self._clock = opening.clock or SYSTEM_CLOCK
        self._store = _make_store(opening, self._clock)
        self._capabilities = Capabilities(
            durable=False,
            distributed=False,
            push=True,
            transactional=False,
            max_payload=opening.max_payload,
            durability=Durability.NONE,
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
        return f"<MemoryBackend {self.url} docket {self.name!r}>"

    async def __aenter__(self) -> Self:
        with _STORES_LOCK:
            self._store = _STORES.setdefault(self._identity, self._store)
            self._store.users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _STORES_LOCK:
            self._store.users -= 1
            if not self._store.users and self._store.is_empty():
                _STORES.pop(self._identity, None)

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        store = self._store
        with store.lock:
            added = store.add(tasks, on_conflict, at_once=True)
        if added and added[0].state is _RUNNING:
            await asyncio.sleep(0)  # it was handed over: whoever waited for it begins first
        return added

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        store = self._store
        with store.lock:
            return store.add(tasks, on_conflict, at_once=False)

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        store = self._store
        with store.lock:
            return store.claim(worker, functions, limit, lease, max_deliveries)

    async def wait(
        self, functions: AbstractSet[str] | None, since: object, until: Micros | None, take: Take | None = None
    ) -> None:
        store = self._store
        if not isinstance(since, Mark):
            return
        waiter = Waiter(functions, until, since, take)
        with store.lock:
            if store.pushes != since.pushes:
                return
            store.waiters.add(waiter)
        try:
            await wait_for_event(waiter.event, self._clock, until)
        finally:
            with store.lock:
                store.waiters.discard(waiter)

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        store = self._store
        with store.lock:
            now = store.clock.now()
            return [store.renew(claim, lease, now) for claim in claims]

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        store = self._store
        with store.lock:
            now = store.clock.now()
            replies = [store.ack(ack, now) for ack in acks]
            self._wake_parked()
        return replies

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        store = self._store
        with store.lock:
            now = store.clock.now()
            replies = [store.cancel(key, now) for key in keys]
            self._wake_parked()
        return replies

    async def clear(self) -> int:
        store = self._store
        with store.lock:
            boundary = store.next_sequence()
            keys = iter(list(store.entries))
        cleared, done = 0, False
        while not done:
            with store.lock:
                portion, done = store.clear_some(keys, boundary, store.clock.now())
                self._wake_parked()
            cleared += portion
        return cleared

    async def prune(self, limit: int) -> int:
        store = self._store
        with store.lock:
            removed = store.prune(limit)
            self._wake_parked()
        return removed

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        store = self._store
        answers: list[Permit] = []
        with store.lock:
            now = store.clock.now()
            for _, group in groups(requests):
                part = store.current(group[0].claim, now)
                if any(is_refused(request) for request in group):
                    answers += [Permit(PermitStatus.REFUSED, None, request.gate.name) for request in group]
                elif part is None:
                    answers += [Permit(PermitStatus.LOST, None, request.gate.name) for request in group]
                else:
                    answers += store.gates.acquire(part, group, now)
            self._wake_parked()
        return answers

    async def release(self, requests: Sequence[PermitRequest]) -> Sequence[Released]:
        store = self._store
        answers: list[Released] = []
        with store.lock:
            now = store.clock.now()
            for request in requests:
                part = store.current(request.claim, now)
                if part is None:
                    answers.append(Released.LOST)
                else:
                    live = store.gates.give_back(request, part, now)
                    answers.append(Released.RELEASED if live else Released.ABSENT)
            self._wake_parked()
        return answers

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        store = self._store
        with store.lock:
            now = store.clock.now()
            return [self._progress(update, now) for update in updates]

    def _progress(self, update: ProgressUpdate, now: Micros) -> ProgressReply:
        store = self._store
        claim = update.claim
        entry = store.entry(claim.key, now)
        if entry is None:
            return ProgressReply.GONE
        if claim.generation < entry.generation:
            return ProgressReply.SUPERSEDED
        part = entry.live
        if part is None or part.token != claim.token:
            return ProgressReply.LOST
        old = part.progress or Progress()
        part.progress = Progress(
            old.current + update.increment,
            old.total if update.total is None else update.total,
            None if update.clear_message else old.message if update.message is None else update.message,
            now,
        )
        store.tell(ProgressMade(part.key, part.run, part.generation, part.progress))
        return ProgressReply.RECORDED

    async def get(self, keys: Sequence[str]) -> Sequence[Record | None]:
        store = self._store
        with store.lock:
            now = store.clock.now()
            entries = [(key, store.entries.get(key)) for key in keys]
            return [entry.record(key, now) if entry is not None else None for key, entry in entries]

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        store = self._store
        with store.lock:
            now = store.clock.now()
            keys = nsmallest(limit + 1, (key for key in store.entries if self._in_scan(key, states, after, now)))
            records = [store.entries[key].record(key, now) for key in keys[:limit]]
        return Page(
            [record for record in records if record is not None], keys[limit - 1] if len(keys) > limit else None
        )

    def _in_scan(self, key: str, states: AbstractSet[State], after: str | None, now: Micros) -> bool:
        if after is not None and key <= after:
            return False
        entry = self._store.entries[key]
        if entry.live is not None and entry.live.state(now) in states:
            return True
        if entry.hold is not None and entry.hold.lease_until > now and State.RUNNING in states:
            return True
        return entry.last is not None and entry.last.expires_at > now and entry.last.state in states

    async def counts(self) -> Sequence[FunctionCounts]:
        store = self._store
        table: dict[str, list[int]] = {}
        with store.lock:
            now = store.clock.now()
            for entry in store.entries.values():
                if entry.hold is not None and entry.hold.lease_until > now:
                    table.setdefault(entry.hold.function, [0, 0, 0, 0])[2] += 1
                if entry.live is not None:
                    column = 3 if entry.live.parked_at is not None else _COLUMNS[entry.live.state(now)]
                    table.setdefault(entry.live.function, [0, 0, 0, 0])[column] += 1
        return [FunctionCounts(function, *row) for function, row in sorted(table.items())]

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        store = self._store
        with store.lock:
            now = store.clock.now()
            store.presence[worker] = (now + ttl, WorkerRecord(worker, frozenset(functions), now))

    async def retire(self, worker: str) -> None:
        with self._store.lock:
            self._store.presence.pop(worker, None)

    async def workers(self, function: str | None = None) -> Sequence[WorkerRecord]:
        store = self._store
        with store.lock:
            now = store.clock.now()
            present = [record for until, record in store.presence.values() if until > now]
        return [record for record in present if function is None or function in record.functions]

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        with self._store.lock:
            return self._store.strike(rule_id, instruction)

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[AsyncIterator[StrikeEvent], None]:
        store = self._store
        with store.lock:
            reader = StrikeReader(store.lock, store.rules.values(), store.strikes)
            store.strike_readers.add(reader)
        try:
            yield aiter(reader)
        finally:
            with store.lock:
                store.strike_readers.discard(reader)

    @asynccontextmanager
    async def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AsyncGenerator[Subscription, None]:
        store = self._store
        with store.lock:
            listener = Listener(store.lock, topics, keys)
            store.listen(listener)
        try:
            yield listener
        finally:
            with store.lock:
                store.leave(listener)

    def join(self, connection: object) -> AbstractAsyncContextManager[Enqueuer]:
        raise CapabilityMissing(
            "the memory backend lacks the capability 'transactional': it has no transactions to join"
        )

    def _wake_parked(self) -> None:
        if len(self._store.gates):
            self._store.wake_parked()


def _make_store(opening: Opening, clock: Clock) -> Store:
    limit = opening.options.get("max_tasks")
    return Store(clock, opening.retention, opening.max_payload, limit if isinstance(limit, int) else None)


_COLUMNS = {State.SCHEDULED: 0, State.QUEUED: 1, State.RUNNING: 2}
