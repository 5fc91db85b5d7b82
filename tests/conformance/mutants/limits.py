"""Broken when the store is full."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import Micros
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    Claimed,
    Ended,
    Enqueued,
    EnqueueStatus,
    OnConflict,
    Renewal,
    Task,
)
from docket_core.backend.states import State
from docket_core.errors import Overloaded
from docket_memory.parts import Part
from docket_memory.store import Store
from tests.conformance.mutants.mutant import Mutant, Sound


class Strict(Sound):
    """When it is full, it is full: what a mutant asks before it refuses what only changes or ends tasks."""

    def refuse_if_full(self) -> None:
        if self._store.max_tasks is not None and self._store.live >= self._store.max_tasks:
            raise Overloaded("full")


class RefusesClaimsWhenFull(Strict):
    """A claim writes, so it is refused."""

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        self.refuse_if_full()
        return await super().claim(worker, functions, limit, lease, max_deliveries)


class RefusesRenewalsWhenFull(Strict):
    """A renewal writes, so it is refused."""

    async def renew(self, claims: Sequence[Claim], lease: Micros) -> Sequence[Renewal]:
        self.refuse_if_full()
        return await super().renew(claims, lease)


class RefusesAcksWhenFull(Strict):
    """An ack writes, so it is refused."""

    async def ack(self, acks: Sequence[Ack]) -> Sequence[Acked]:
        self.refuse_if_full()
        return await super().ack(acks)


class RefusesCancelsWhenFull(Strict):
    """A cancel writes, so it is refused."""

    async def cancel(self, keys: Sequence[str]) -> Sequence[CancelReply]:
        self.refuse_if_full()
        return await super().cancel(keys)


class RefusesTakeoversWhenFull(Strict):
    """Has no room to write whose a lapsed task is now."""

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        if any(self._store.leases.due(functions, self._clock.now())):
            self.refuse_if_full()
        return await super().claim(worker, functions, limit, lease, max_deliveries)


class WritesWhatItRefuses(Sound):
    """Notices too late that there was no room."""

    class store(Store):
        def _add_one(self, task: Task, when: Micros, on_conflict: OnConflict, now: Micros) -> Enqueued:
            answer = super()._add_one(task, when, on_conflict, now)
            if isinstance(answer.error, Overloaded):
                limit, self.max_tasks = self.max_tasks, None
                super()._add_one(task, when, on_conflict, now)
                self.max_tasks = limit
            return answer


class NeverHasRoomAgain(Sound):
    """Counts what comes, and not what goes."""

    class store(Store):
        def _end(
            self,
            part: Part,
            state: State,
            now: Micros,
            result: bytes | None = None,
            error: str | None = None,
            reason: str | None = None,
            *,
            forget: bool = True,
        ) -> Ended:
            self.live += 1
            return super()._end(part, state, now, result, error, reason, forget=forget)


class LosesOutcomesWhenFull(Sound):
    """Keeps no outcome where there is no room for it."""

    class store(Store):
        def ack(self, ack: Ack, now: Micros) -> Acked:
            kept = self.retention
            if self.max_tasks is not None and self.live >= self.max_tasks:
                self.retention = 0
            try:
                return super().ack(ack, now)
            finally:
                self.retention = kept


class RefusesWithoutReason(Sound):
    """Says that it took nothing, but not why."""

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        answers = await super().enqueue(tasks, on_conflict)
        return [answer._replace(error=None) if answer.status is EnqueueStatus.REFUSED else answer for answer in answers]


LIMITS = (
    Mutant(RefusesClaimsWhenFull, ("TestLimits.test_full_store_drains", "TestLimits.test_full_store_takes_over")),
    Mutant(RefusesRenewalsWhenFull, ("TestLimits.test_full_store_drains",)),
    Mutant(RefusesAcksWhenFull, ("TestLimits.test_full_store_drains",)),
    Mutant(RefusesCancelsWhenFull, ("TestLimits.test_full_store_still_cancels",)),
    Mutant(RefusesTakeoversWhenFull, ("TestLimits.test_full_store_takes_over",)),
    Mutant(WritesWhatItRefuses, ("TestLimits.test_full_store_writes_nothing_new",)),
    Mutant(NeverHasRoomAgain, ("TestLimits.test_full_store_drains", "TestLimits.test_full_store_still_cancels")),
    Mutant(LosesOutcomesWhenFull, ("TestLimits.test_outcomes_of_a_full_store_are_kept",)),
    Mutant(RefusesWithoutReason, ("TestLimits.test_full_store_writes_nothing_new",)),
)
