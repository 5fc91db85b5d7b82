"""One backend with a pure model beside it: every operation is done to both, and what can be seen is compared."""

import asyncio
from collections.abc import Awaitable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from typing import TypeVar

from docket_core.backend.clock import ManualClock, Micros
from docket_core.backend.model import Ack, Claim, OnConflict, Permit, PermitRequest, ProgressUpdate, Task, Verdict
from docket_core.backend.protocol import Backend
from docket_core.backend.records import Record
from docket_core.backend.states import LIVE, TERMINAL, State
from docket_core.conformance.pure import Pure
from docket_core.conformance.pure_claim import ClaimCheck
from docket_core.conformance.subject import OpenBackend

Answer = TypeVar("Answer")
ENOUGH = 1000


class Side:
    """Two instances on one store, standing for two processes, and the model of their docket."""

    def __init__(self, opener: OpenBackend, name: str, clock: ManualClock, retention: Micros) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.clock = clock
        self.pure = Pure(clock.now, retention)
        self.granted: list[Claim] = []
        """Every claim that was ever granted, the dead ones included."""
        self.instances = [
            self.do(self._stack.enter_async_context(opener(name, clock, retention=retention))) for _ in range(2)
        ]

    def do(self, operation: Awaitable[Answer]) -> Answer:
        async def awaited() -> Answer:
            return await operation

        return self._runner.run(awaited())

    def close(self) -> None:
        self.do(self._stack.aclose())
        self._runner.close()

    def advance(self, delta: Micros) -> None:
        async def advanced() -> None:
            self.clock.advance(delta)

        self.do(advanced())

    def holding(self) -> list[Claim]:
        """The claims that still hold their key."""
        return [claim for claim in self.granted if self.pure.holds(claim)]

    # --- operations -------------------------------------------------------------------------------

    def add(self, by: Backend, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> None:
        answers = self.do((by.enqueue if at_once else by.schedule)(tasks, on_conflict))
        for task, answer in zip(tasks, answers, strict=True):
            self.pure.added(task, on_conflict, at_once, answer)

    def claim(
        self,
        by: Backend,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None,
    ) -> None:
        reply = self.do(by.claim("worker", functions, limit, lease, max_deliveries))
        ClaimCheck(self.pure, "worker", functions, limit, lease, max_deliveries).apply(reply)
        self.granted += reply.claims

    def renew(self, by: Backend, claims: Sequence[Claim], lease: Micros) -> None:
        for claim, answer in zip(claims, self.do(by.renew(claims, lease)), strict=True):
            self.pure.renewed(claim, lease, answer)

    def ack(self, by: Backend, ack: Ack) -> None:
        [answer] = self.do(by.ack([ack]))
        self.pure.acked(ack, answer, ack.verdict is Verdict.RELEASE and self._is_parked(ack.claim.key))

    def _is_parked(self, key: str) -> bool:
        [record] = self.do(self.instances[0].get([key]))
        return record is not None and record.live is not None and record.live.parked_at is not None

    def cancel(self, by: Backend, keys: Sequence[str]) -> None:
        for key, answer in zip(keys, self.do(by.cancel(keys)), strict=True):
            self.pure.cancelled(key, answer)

    def clear(self, by: Backend) -> None:
        self.pure.cleared(self.do(by.clear()))

    def prune(self, by: Backend) -> None:
        assert self.do(by.prune(ENOUGH)) < ENOUGH
        self.pure.swept()

    def acquire(self, by: Backend, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        answers = self.do(by.acquire(requests))
        self.pure.acquired(requests, answers)
        return answers

    def release(self, by: Backend, request: PermitRequest) -> None:
        [answer] = self.do(by.release([request]))
        self.pure.gave_back(request, answer)

    def progress(self, by: Backend, update: ProgressUpdate) -> None:
        [answer] = self.do(by.progress([update]))
        self.pure.progressed(update, answer)

    # --- what can be seen -------------------------------------------------------------------------

    def compare(self, keys: Sequence[str]) -> None:
        """Let every reader tell what the model knows."""
        reader = self.instances[1]
        for key, record in zip(keys, self.do(reader.get(keys)), strict=True):
            self.pure.seen(key, record)
        self.pure.counted(self.do(reader.counts()))

    def scan(self, states: AbstractSet[State], limit: int) -> None:
        after: str | None = None
        records: list[Record] = []
        while True:
            page = self.do(self.instances[1].scan(states, limit, after))
            records += page.records
            after = page.after
            if after is None:
                break
        self.pure.scanned(states, records)

    def finish(self) -> None:
        """The history is over: all records once more, in small pages."""
        self.scan(LIVE | TERMINAL, 2)
