"""The Redis backend: the protocol, each operation a script or a few of them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from docket_core.backend.capabilities import Capabilities
from docket_core.backend.clock import SYSTEM_CLOCK, Clock, Micros
from docket_core.backend.finishing import Finishing
from docket_core.backend.hookspecs import Opening
from docket_core.backend.kit import check_label, groups, is_refused, refusal_of_ack, refusal_of_task
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Enqueued,
    EnqueueStatus,
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
from docket_core.backend.records import FunctionCounts, Page, Record, StrikeEvent, Topic, WorkerRecord
from docket_core.backend.states import State
from docket_core.errors import CapabilityMissing, DocketError, Overloaded
from docket_redis import wire
from docket_redis.address import address_of
from docket_redis.client import Client
from docket_redis.connection import Argument, ServerError, translated
from docket_redis.events import Feed, StrikeReader
from docket_redis.handover import Ask, Handovers, Mark
from docket_redis.hub import Hub
from docket_redis.records import LETTERS, optional_int, record_of
from docket_redis.settings import check_server
from docket_redis.wait import Bells, StoreClock
from docket_redis.wire import PORTION


class RedisBackend:
    """One user of a docket on a Redis server, with a connection for its calls and one that listens once it waits."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._max_payload = opening.max_payload
        self._store_clock = StoreClock() if opening.clock is None else None
        self._clock: Clock = opening.clock or self._store_clock or SYSTEM_CLOCK
        address = address_of(opening.url, opening.options)
        self._client = Client(address, wire.prefix_of(opening.name), opening.clock, opening.retention)
        self._hub = Hub(self._client)
        self._handovers = Handovers(self._client, self._clock, self._give_back, self._withdraw)
        self._bells = Bells(self._hub, self._clock, self._handovers)
        self._handing = False
        """Whether the latest add of one task was handed over to a worker: the next one probably is, too."""
        self._background: set[asyncio.Task[None]] = set()
        self._capabilities = Capabilities(
            durable=True, distributed=True, push=True, transactional=False, max_payload=opening.max_payload
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
        return f"<RedisBackend {self.url} docket {self.name!r}>"

    async def __aenter__(self) -> Self:
        self._client.reopen()
        try:
            durability = await check_server(self._client, self.url)
        except BaseException:
            await self._client.close()
            raise
        self._capabilities = replace(self._capabilities, durability=durability)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handovers.close()
        if self._background:
            await asyncio.wait(self._background, timeout=self._client.address.timeout)
        await self._hub.close()
        await self._client.close()

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        if len(tasks) == 1 and on_conflict is OnConflict.KEEP and not refusal_of_task(tasks[0], self._max_payload):
            sent = wire.enqueue_arguments(tasks[0], at_once=True)  # the common case, by a short way
            try:
                reply = await self._client.run("enqueue", "keep", *sent, told_first=self._handing)
            except Overloaded as full:
                return [_refused(tasks[0], full)]
            added = wire.enqueued(tasks, reply)
            self._handing = added[0].state is State.RUNNING
            return added
        return await self._add(tasks, on_conflict, at_once=True)

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._add(tasks, on_conflict, at_once=False)

    async def _add(self, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> list[Enqueued]:
        script = "enqueue" if on_conflict is OnConflict.KEEP else "replace"
        refusals = [refusal_of_task(task, self._max_payload) for task in tasks]
        taken = [task for task, refusal in zip(tasks, refusals, strict=True) if refusal is None]
        items = [wire.enqueue_arguments(task, at_once=at_once) for task in taken]
        portions = wire.portions(items)
        answers: list[Enqueued] = []
        parts = [wire.flat(items[portion], on_conflict.value) for portion in portions]
        replies = await self._client.run_each(script, parts) if parts else []
        for portion, reply in zip((taken[one] for one in portions), replies, strict=True):
            if isinstance(reply, ServerError):
                error = translated(reply)
                if not isinstance(error, Overloaded):
                    raise error from reply
                answers += [_refused(task, error) for task in portion]
            else:
                answers += wire.enqueued(portion, reply)
        if len(answers) == len(tasks):
            return answers
        rest = iter(answers)
        return [
            next(rest) if refusal is None else _refused(task, refusal)
            for task, refusal in zip(tasks, refusals, strict=True)
        ]

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        check_label("worker name", worker)
        ask = self._handovers.ending(worker)
        claiming = self._claim(worker, functions, min(limit, PORTION * 2), lease, max_deliveries, ask)
        return await Finishing(claiming, self._give_back)

    async def _claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None,
        ask: Ask | None,
    ) -> Claimed:
        count, most = self._bells.count(), "" if max_deliveries is None else max_deliveries
        sent, claims = SYSTEM_CLOCK.now(), list[Claim]()
        how = (worker, limit, lease, most, int(functions is None), "" if ask is None else ask.name)
        try:
            reply = await self._client.run("claim", *how, *(functions or ()))
            now = int(reply[0])
            if self._store_clock is not None:
                self._store_clock.learn(sent, now, SYSTEM_CLOCK.now())
            granted = int(reply[4]) if len(reply) > 4 else now
            claims = wire.claims(reply[2], granted, granted + lease)
        finally:
            if ask is not None:
                self._handovers.ended(ask, claims)
        mark = Mark(count, worker, lease, has_room=len(claims) < limit)
        return Claimed(claims, now, optional_int(reply[1]), mark, wire.ended(reply[3]))

    def _withdraw(self, ask: Ask) -> None:
        """Nobody waits any more for what was asked for."""
        self._give_back(self._claim(ask.worker, frozenset(), 0, 0, None, ask))

    def _give_back(self, claims: "asyncio.Task[Claimed] | Coroutine[Any, Any, Claimed] | Sequence[Claim]") -> None:
        """Nobody will see these claims, or what a claim under way brings: they go back."""

        async def give_back() -> None:
            with suppress(DocketError):  # the lease brings them back
                gone = claims if isinstance(claims, Sequence) else (await claims).claims
                await self.ack([Ack.release(claim) for claim in gone])

        task = asyncio.create_task(give_back())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def wait(
        self, functions: AbstractSet[str] | None, since: object, until: Micros | None, take: Take | None = None
    ) -> None:
        mark = since if isinstance(since, Mark) else Mark(-1, "", 0, has_room=False)
        await self._bells.wait(functions, mark, until, take)

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        letters = await self._each("renew", [[claim.key, claim.token] for claim in claims], lease)
        return [wire.RENEWED[letter] for letter in letters]

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        refused = [refusal_of_ack(ack, self._max_payload) is not None for ack in acks]
        taken = [wire.ack_arguments(ack) for ack, no in zip(acks, refused, strict=True) if not no]
        letters = iter(await self._each("ack", taken))
        return [Acked.REFUSED if no else wire.ACKED[next(letters)] for no in refused]

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        return [wire.CANCELLED[letter] for letter in await self._each("cancel", [[key] for key in keys])]

    async def clear(self) -> int:
        mark, after, cleared = b"", b"", 0
        while True:
            portion: int
            mark, after, portion = await self._client.run("clear", mark, after, PORTION)
            cleared += portion
            if not after:
                return cleared

    async def prune(self, limit: int) -> int:
        removed = 0
        while removed < limit:
            portion = min(PORTION, limit - removed)
            now_removed: int = await self._client.run("prune", portion)
            removed += now_removed
            if now_removed < portion:
                break
        return removed

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        answers: list[Permit | None] = [None] * len(requests)
        taken: list[tuple[int, list[PermitRequest]]] = []
        for position, group in groups(requests):
            if any(is_refused(request) for request in group):
                for offset, request in enumerate(group):
                    answers[position + offset] = Permit(PermitStatus.REFUSED, None, request.gate.name)
            else:
                taken.append((position, group))
        replies = await self._each("acquire", [wire.acquire_arguments(group) for _, group in taken])
        permits = iter(wire.permits(replies))
        return [next(permits) if answer is None else answer for answer in answers]

    async def release(self, requests: Sequence[PermitRequest]) -> Sequence[Released]:
        sent: list[list[Argument]] = [[one.claim.key, one.claim.token, one.gate.name, one.holder] for one in requests]
        return [wire.RELEASED[letter] for letter in await self._each("release", sent)]

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        letters = await self._each("progress", [wire.progress_arguments(update) for update in updates])
        return [wire.PROGRESSED[letter] for letter in letters]

    async def get(self, keys: Sequence[str]) -> Sequence[Record | None]:
        records: list[Record | None] = []
        while len(records) < len(keys):
            now, *rows = await self._client.run("get", *keys[len(records) : len(records) + PORTION])
            records += [record_of(row, int(now)) for row in rows]
        return records

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        letters, records = "".join(LETTERS[state] for state in states), list[Record]()
        looked, told = after or "", after or ""
        while True:
            wanted = min(limit - len(records) + 1, PORTION)
            now, reached, rows = await self._client.run("scan", letters, looked, PORTION, wanted)
            for entry, row in zip(rows[::2], rows[1::2], strict=True):
                record = record_of(row, int(now))
                if record is None:
                    continue
                if len(records) == limit:
                    return Page(records, told)
                records.append(record)
                told = entry.decode()
            if not reached:
                return Page(records, None)
            looked = reached.decode()

    async def counts(self) -> Sequence[FunctionCounts]:
        reply = await self._client.run("counts")
        rows = [(reply[at].decode(), *reply[at + 1 : at + 5]) for at in range(0, len(reply), 5)]
        return [FunctionCounts(*row) for row in sorted(rows)]

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        check_label("worker name", worker)
        await self._client.run("presence", "beat", worker, ttl, *functions)

    async def retire(self, worker: str) -> None:
        await self._client.run("presence", "retire", worker)

    async def workers(self, function: str | None = None) -> Sequence[WorkerRecord]:
        reply = await self._client.run("presence", "list", "")
        found: list[WorkerRecord] = []
        for worker, text in zip(reply[::2], reply[1::2], strict=True):
            seen, *functions = text.decode(errors="replace").split("\x1f")[:-1]
            if function is None or function in functions:
                found.append(WorkerRecord(worker.decode(), frozenset(functions), int(seen)))
        return found

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        check_label("strike's rule", rule_id)
        return int(await self._client.run("strike", rule_id, *((0,) if instruction is None else (1, instruction))))

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[AsyncIterator[StrikeEvent], None]:
        reader = StrikeReader(self._client, self._hub)
        reader.open()
        try:
            yield aiter(reader)
        finally:
            reader.close()

    @asynccontextmanager
    async def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AsyncGenerator[Subscription, None]:
        feed = Feed(self._hub, topics, keys, self._client.address.timeout)
        try:
            await feed.open()
            yield feed
        finally:
            feed.close()

    def join(self, connection: object) -> AbstractAsyncContextManager[Enqueuer]:
        raise CapabilityMissing(
            "the Redis backend lacks the capability 'transactional': it has no transactions that others could join"
        )

    async def _each(self, name: str, items: Sequence[Sequence[Argument]], *first: Argument) -> list[bytes]:
        """Run a script over items, in portions, and answer its replies in one list."""
        if not items:
            return []
        sent = [wire.flat(items[portion], *first) for portion in wire.portions(items)]
        return [value for reply in await self._client.run_all(name, sent) for value in reply]


def _refused(task: Task, error: DocketError) -> Enqueued:
    return Enqueued(EnqueueStatus.REFUSED, task.run, error=error)
