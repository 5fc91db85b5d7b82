"""The LMDB backend: the protocol over transactions that run in one thread per instance."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from docket_core.backend import SYSTEM_CLOCK, Capabilities, Clock, Durability, Micros, Opening, State
from docket_core.backend.kit import groups, wait_for_event
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
from docket_core.backend.protocol import Enqueuer, Subscription
from docket_core.backend.records import (
    FunctionCounts,
    Page,
    Record,
    StrikeEvent,
    StrikeRule,
    StrikesCaughtUp,
    Topic,
    WorkerRecord,
)
from docket_core.errors import BackendUnavailable, CapabilityMissing, ConfigurationError, Overloaded
from docket_lmdb import claim as many
from docket_lmdb import log, permits
from docket_lmdb.database import Database, Tx, digest
from docket_lmdb.events import Listener, StrikeReader
from docket_lmdb.step import Step

T = TypeVar("T")
Item = TypeVar("Item")


class LmdbBackend:
    """One user of a docket in a folder."""

    def __init__(self, opening: Opening) -> None:
        location = opening.url.location
        if not location:
            raise ConfigurationError(f"{opening.url.redacted!r} names no folder; write lmdb:///path/to/folder")
        self._opening = opening
        self._path = Path(f"/{location.lstrip('/')}" if location.startswith("/") else location)
        self._docket = digest(opening.name)
        self._clock = opening.clock or SYSTEM_CLOCK
        self._poll = cast("int", opening.options["poll"]) / 1000
        self._open: tuple[Database, ThreadPoolExecutor] | None = None
        self._capabilities = Capabilities(
            durable=True,
            distributed=True,
            push=False,
            transactional=False,
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
        return f"<LmdbBackend {self.url} docket {self.name!r}>"

    async def __aenter__(self) -> Self:
        size = cast("int", self._opening.options["size"])
        thread = ThreadPoolExecutor(1, "docket-lmdb")
        try:
            database = await asyncio.wrap_future(thread.submit(Database.opened, self._path, size))
        except BaseException:
            thread.shutdown(wait=False)
            raise
        self._open = database, thread
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            (database, thread), self._open = self._open, None
            closed = asyncio.wrap_future(thread.submit(database.close))  # behind all that was begun
            thread.shutdown(wait=False)
            await asyncio.shield(closed)

    async def _do(self, work: Callable[[Step], T], *, write: bool = True) -> T:
        """Do `work` in a transaction, in the instance's thread; it is finished though the caller be cancelled."""
        if self._open is None:
            raise BackendUnavailable(f"{self!r} is not open; use it as an async context manager")
        database, thread = self._open

        def worked(tx: Tx) -> T:
            step = Step(tx, self._clock.now(), self._opening.retention, self._opening.max_payload)
            result = work(step)
            step.gates.settle()
            return result

        return await asyncio.shield(
            asyncio.wrap_future(thread.submit(database.transact, self._docket, worked, write=write))
        )

    async def _each(self, items: Sequence[Item], work: Callable[[Step, Item], T]) -> list[T]:
        """`work` on every item, in one transaction."""
        if not items:
            return []
        return await self._do(lambda step: [work(step, item) for item in items])

    # --- adding -----------------------------------------------------------------------------------

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._add(tasks, on_conflict, at_once=True)

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await self._add(tasks, on_conflict, at_once=False)

    async def _add(self, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> Sequence[Enqueued]:
        try:
            return await self._each(tasks, lambda step, task: step.add(task, on_conflict, at_once=at_once))
        except Overloaded as error:
            return [Enqueued(EnqueueStatus.REFUSED, task.run, error=error) for task in tasks]

    def join(self, connection: object) -> AbstractAsyncContextManager[Enqueuer]:
        raise CapabilityMissing("the lmdb backend lacks the capability 'transactional': no caller can share its lock")

    # --- running ----------------------------------------------------------------------------------

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        return await self._do(lambda step: many.claim(step, worker, functions, limit, lease, max_deliveries))

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        wanted = None if functions is None else {digest(function) for function in functions}
        mark = cast("int", since)
        sleeping = asyncio.ensure_future(wait_for_event(asyncio.Event(), self._clock, until))
        watching = asyncio.ensure_future(self._watch(wanted, mark))
        try:
            await asyncio.wait({sleeping, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            watching.cancel()
            await asyncio.gather(sleeping, watching, return_exceptions=True)

    async def _watch(self, functions: set[bytes] | None, mark: int) -> None:
        """Look for a push whenever there was a commit."""
        pushed, seen = False, None
        while not pushed:
            await self.commit_after(seen)
            pushed, seen = await self._do(lambda step: many.pushed_since(step, functions, mark), write=False)

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        return await self._each(claims, lambda step, claim: step.renew(claim, lease))

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        return await self._each(acks, Step.ack)

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        return await self._each(updates, Step.progress)

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        return await self._each(keys, Step.cancel)

    async def clear(self) -> int:
        boundary = await self._do(lambda step: step.tx.count(b"sequence"), write=False)
        cleared = 0
        after: bytes | None = b""
        while after is not None:
            portion, after = await self._do(partial(many.clear, boundary=boundary, after=after))
            cleared += portion
        return cleared

    async def prune(self, limit: int) -> int:
        return await self._do(lambda step: many.prune(step, limit))

    # --- permits ----------------------------------------------------------------------------------

    async def acquire(self, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        answers = await self._each([group for _, group in groups(requests)], permits.acquire)
        return [answer for group in answers for answer in group]

    async def release(self, requests: Sequence[PermitRequest]) -> Sequence[Released]:
        return await self._each(requests, permits.release)

    # --- reading ----------------------------------------------------------------------------------

    async def get(self, keys: Sequence[str]) -> Sequence[Record | None]:
        if not keys:
            return []
        return await self._do(lambda step: [step.entry(key).record(step.now) for key in keys], write=False)

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        found: list[Record] = []
        position: bytes | None = bytes.fromhex(after or "")
        while position is not None and len(found) < limit:
            look = partial(many.scan, states=states, limit=limit - len(found), after=position)
            portion, position = await self._do(look, write=False)
            found += portion
        return Page(found, position.hex() if position is not None else None)

    async def counts(self) -> Sequence[FunctionCounts]:
        return await self._do(many.counts, write=False)

    # --- workers and strikes ----------------------------------------------------------------------

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        def beat(step: Step) -> None:
            text = json.dumps([worker, sorted(functions), step.now]).encode()
            step.tx.put(b"h" + digest(worker), (step.now + ttl).to_bytes(8, "big") + text)

        await self._do(beat)

    async def retire(self, worker: str) -> None:
        await self._do(lambda step: step.tx.delete(b"h" + digest(worker)))

    async def workers(self, function: str | None = None) -> Sequence[WorkerRecord]:
        def present(step: Step) -> list[WorkerRecord]:
            found: list[WorkerRecord] = []
            for _, text in step.tx.walk(b"h"):
                if int.from_bytes(text[:8], "big") > step.now:
                    name, functions, seen = json.loads(text[8:])
                    found.append(WorkerRecord(name, frozenset(functions), seen))
            return [record for record in found if function is None or function in record.functions]

        return await self._do(present, write=False)

    async def strike(self, rule_id: str, instruction: bytes | None) -> int:
        return await self._do(lambda step: step.strike(rule_id, instruction))

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[AsyncIterator[StrikeEvent], None]:
        yield aiter(StrikeReader(self))

    # --- events -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AsyncGenerator[Subscription, None]:
        position = await self._do(lambda step: step.tx.count(b"log"), write=False)
        yield Listener(self, position, topics, keys)

    async def read_log(self, since: int) -> log.Portion:
        return await self._do(lambda step: log.read(step.tx, since), write=False)

    async def read_rules(self) -> tuple[list[StrikeRule | StrikesCaughtUp], int]:
        return await self._do(lambda step: log.rules(step.tx), write=False)

    async def commit_after(self, seen: int | None) -> None:
        """Return when there is another commit, of any process, than the one that was `seen`."""
        while True:
            if self._open is None:
                raise BackendUnavailable(f"{self!r} is not open")
            if self._open[0].commits() != seen:
                return
            await asyncio.sleep(self._poll)
