"""Watches any backend from outside: spans, timings, and a count of what went wrong with the store.

No backend knows telemetry.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

from docket_core.backend.capabilities import Capabilities
from docket_core.backend.clock import Clock, Micros
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
from docket_core.backend.protocol import Backend, Enqueuer, Subscription
from docket_core.backend.records import FunctionCounts, Page, Record, StrikeEvent, Topic, WorkerRecord
from docket_core.backend.states import State
from docket_core.backend.watch import TELEMETRY, Telemetry, Watcher
from docket_core.errors import BackendError

T = TypeVar("T")
V = TypeVar("V")


class _Entered(Generic[T, V]):
    """Watches how a context is entered, not what its user does in it."""

    def __init__(
        self, inner: AbstractAsyncContextManager[T], watch: Watcher, operation: str, shown: Callable[[T], V]
    ) -> None:
        self._inner = inner
        self._watch = watch
        self._operation = operation
        self._shown = shown

    async def __aenter__(self) -> V:
        with self._watch(self._operation):
            return self._shown(await self._inner.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)


class _ObservedEnqueuer:
    """The two operations that a transaction has as well."""

    def __init__(self, inner: Enqueuer, watch: Watcher) -> None:
        self._enqueuer = inner
        self._watch = watch

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        if self._watch.only_counts:  # on the way of each task: without a context for it
            try:
                return await self._enqueuer.enqueue(tasks, on_conflict)
            except BackendError as error:
                self._watch.disrupted("enqueue", error)
                raise
        with self._watch("enqueue", len(tasks)):
            return await self._enqueuer.enqueue(tasks, on_conflict)

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        with self._watch("schedule", len(tasks)):
            return await self._enqueuer.schedule(tasks, on_conflict)


class ObservedBackend(_ObservedEnqueuer):
    """A backend that is watched; to its users it is the backend it watches.

    With `instrumented` every operation but `wait`, which only sleeps, has a span `docket.backend.<operation>` and is
    recorded in the histogram `docket_backend_operation_duration`. With or without, `BackendUnavailable` and
    `Overloaded` are counted in `docket_backend_disruptions`.
    """

    def __init__(
        self,
        inner: Backend,
        *,
        instrumented: bool = False,
        telemetry: Telemetry = TELEMETRY,
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__(inner, watcher or Watcher(inner.name, telemetry, instrumented=instrumented))
        self.inner = inner

    def __repr__(self) -> str:
        return f"<observed {self.inner!r}>"

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def url(self) -> str:
        return self.inner.url

    @property
    def clock(self) -> Clock:
        return self.inner.clock

    @property
    def capabilities(self) -> Capabilities:
        return self.inner.capabilities

    async def __aenter__(self) -> Self:
        with self._watch("open"):
            await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._watch("close"):
            await self.inner.__aexit__(kind, error, trace)

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        if self._watch.only_counts:
            try:
                return await self.inner.claim(worker, functions, limit, lease, max_deliveries)
            except BackendError as error:
                self._watch.disrupted("claim", error)
                raise
        with self._watch("claim") as watched:
            claimed = await self.inner.claim(worker, functions, limit, lease, max_deliveries)
            watched.answered(len(claimed.claims))
            return claimed

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        if self._watch.only_counts:
            try:
                return await self.inner.wait(functions, since, until, take)
            except BackendError as error:
                self._watch.disrupted("wait", error)
                raise
        with self._watch.quietly("wait"):
            return await self.inner.wait(functions, since, until, take)

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        with self._watch("renew", len(claims)):
            return await self.inner.renew(claims, lease)

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        with self._watch("ack", len(acks)):
            return await self.inner.ack(acks)

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        with self._watch("cancel", len(keys)):
            return await self.inner.cancel(keys)

    async def clear(self) -> int:
        with self._watch("clear") as watched:
            cleared = await self.inner.clear()
            watched.answered(cleared)
            return cleared

    async def prune(self, limit: int) -> int:
        with self._watch("prune") as watched:
            removed = await self.inner.prune(limit)
            watched.answered(removed)
            return removed

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        with self._watch("acquire", len(requests)):
            return await self.inner.acquire(requests)

    async def release(self, requests: Sequence[PermitRequest]) -> Sequence[Released]:
        with self._watch("release", len(requests)):
            return await self.inner.release(requests)

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        with self._watch("progress", len(updates)):
            return await self.inner.progress(updates)

    async def get(self, keys: Sequence[str]) -> Sequence[Record | None]:
        with self._watch("get", len(keys)):
            return await self.inner.get(keys)

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        with self._watch("scan") as watched:
            page = await self.inner.scan(states, limit, after)
            watched.answered(len(page.records))
            return page

    async def counts(self) -> Sequence[FunctionCounts]:
        with self._watch("counts"):
            return await self.inner.counts()

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        with self._watch("heartbeat"):
            await self.inner.heartbeat(worker, functions, ttl)

    async def retire(self, worker: str) -> None:
        with self._watch("retire"):
            await self.inner.retire(worker)

    async def workers(self, function: str | None = None) -> Sequence[WorkerRecord]:
        with self._watch("workers"):
            return await self.inner.workers(function)

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        with self._watch("strike"):
            return await self.inner.strike(rule_id, instruction)

    def strikes(self) -> AbstractAsyncContextManager[AsyncIterator[StrikeEvent]]:
        return _Entered(self.inner.strikes(), self._watch, "strikes", _same)

    def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AbstractAsyncContextManager[Subscription]:
        return _Entered(self.inner.subscribe(topics, keys), self._watch, "subscribe", _same)

    def join(self, connection: object) -> AbstractAsyncContextManager[Enqueuer]:
        return _Entered(self.inner.join(connection), self._watch, "join", self._joined)

    def _joined(self, transaction: Enqueuer) -> Enqueuer:
        return _ObservedEnqueuer(transaction, self._watch)


def _same(value: T) -> T:
    return value
