"""Broken at adding, claiming and waiting."""

import asyncio
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import cast

from docket_core.backend.clock import SECOND, Micros
from docket_core.backend.model import Ack, Claim, Claimed, Enqueued, Mark, OnConflict, Renewal, Take, Task
from docket_memory.events import Mark as Since
from docket_memory.events import Waiter
from docket_memory.parts import Entry, Part
from docket_memory.store import Store
from tests.conformance.mutants.mutant import Mutant, Sound


class ClientClock(Sound):
    """A delay counts from what the client takes for now."""

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        now = time.time_ns() // 1000
        dated = [task if task.delay is None else task._replace(when=now + task.delay) for task in tasks]
        return await super().schedule(dated, on_conflict)


class Early(Sound):
    """Starts what is due within a second."""

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        hasty = [task if task.delay is None else task._replace(delay=task.delay - SECOND) for task in tasks]
        return await super().schedule(hasty, on_conflict)


class LosesDedup(Sound):
    """Takes every add for a new one."""

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        return await super().enqueue([task._replace(run=f"{task.run}+") for task in tasks], OnConflict.REPLACE)


class ForgetsRuns(Sound):
    """Does not know an add again whose reply was lost."""

    class store(Store):
        def _repeated(self, entry: Entry, task: Task, now: Micros) -> Enqueued | None:
            return None


class ForgetsHeldRuns(Sound):
    """Takes a repeated add for a new one once its run was replaced."""

    class store(Store):
        def _repeated(self, entry: Entry, task: Task, now: Micros) -> Enqueued | None:
            held = entry.hold is not None and entry.hold.run == task.run
            return None if held else super()._repeated(entry, task, now)


class ReplacesAgain(Sound):
    """Takes a repeated replace for a new one."""

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        if on_conflict is OnConflict.REPLACE:
            await super().enqueue([task._replace(run=f"{task.run}+") for task in tasks], on_conflict)
        return await super().enqueue(tasks, on_conflict)


class AtMostOnce(Sound):
    """Forgets a task when it is claimed: acknowledged before it has run."""

    class store(Store):
        def claim(
            self, worker: str, functions: AbstractSet[str] | None, limit: int, lease: Micros, max_deliveries: int | None
        ) -> Claimed:
            claimed = super().claim(worker, functions, limit, lease, max_deliveries)
            for claim in claimed.claims:
                self.leases.discard(claim.function, claim.key)
            return claimed


class GrantsTwice(Sound):
    """Leaves what it grants among the ready."""

    class store(Store):
        def claim(
            self, worker: str, functions: AbstractSet[str] | None, limit: int, lease: Micros, max_deliveries: int | None
        ) -> Claimed:
            claimed = super().claim(worker, functions, limit, lease, max_deliveries)
            for claim in claimed.claims:
                self.ready.add(claim.function, claim.key, claimed.now)
            return claimed


class IgnoresFunctions(Sound):
    """Claims what the worker cannot run."""

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        return await super().claim(worker, None, limit, lease, max_deliveries)


class NewestFirst(Sound):
    """Serves the newest first."""

    class store(Store):
        def _index(self, entry: Entry, part: object) -> None:
            live = entry.live
            if live is not None and live.parked_at is None and entry.hold is None:
                self.ready.add(
                    live.function, live.key, live.ready_at if live.when > self.clock.now() else 0, -live.sequence
                )


class NeverPoison(Sound):
    """Grants a task that kills its workers for ever."""

    async def claim(
        self,
        worker: str,
        functions: AbstractSet[str] | None,
        limit: int,
        lease: Micros,
        max_deliveries: int | None = None,
    ) -> Claimed:
        return await super().claim(worker, functions, limit, lease, None)


class HastyRecovery(Sound):
    """Takes a lapsed task over at once, however often that was in vain."""

    class store(Store):
        def _index_lease(self, part: object) -> None:
            for live in [entry.live for entry in self.entries.values()]:
                if live is part and live is not None:
                    self.leases.add(live.function, live.key, live.lease_until)


class ForgetsLeases(Sound):
    """Does not say when a lease ends, so that nobody comes to take the task over."""

    class store(Store):
        def _next_at(self, functions: AbstractSet[str] | None) -> Micros | None:
            return self.ready.earliest(functions)


class RenewsLapsed(Sound):
    """Renews a lease that has run out."""

    class store(Store):
        def renew(self, claim: Claim, lease: Micros, now: Micros) -> Renewal:
            part = self.holder(claim)
            if part is not None and part.lease_until <= now:
                part.lease_until = now + 1
            return super().renew(claim, lease, now)


class LosesPushes(Sound):
    """Nobody who waits learns of anything."""

    class store(Store):
        def push(self, function: str, at: Micros) -> None:
            pass


class WakesNobody(Sound):
    """A push is seen by the next wait, but wakes none that sleeps."""

    class store(Store):
        def push(self, function: str, at: Micros) -> None:
            self.pushes += 1


class ForgetsFreedPermits(Sound):
    """A freed permit wakes who sleeps, but the next wait does not see it."""

    class store(Store):
        def wake_parked(self) -> None:
            if self.waiters:
                super().wake_parked()


class Oversleeps(Sound):
    """Sleeps until a push, and loses the pushes."""

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        await asyncio.Event().wait()


class SleepsThroughBreaks(Sound):
    """Sleeps until a push, and has lost the way by which it would come."""

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        waiting = asyncio.ensure_future(super().wait(functions, since, until, take))
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=0.01)
                if self.disrupted:
                    await asyncio.Event().wait()
        finally:
            waiting.cancel()


class SpinsInWait(Sound):
    """Never sleeps."""

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        return None


class HandsOverToAnybody(Sound):
    """Hands over what is of no function that is waited for."""

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        await super().wait(None, since, until, take)


def _throw_away(claims: Sequence[Claim], now: Micros) -> None:
    """Takes what nobody asked for."""


class HandsOverToNobody(Sound):
    """Hands over to a wait that takes nothing."""

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        await super().wait(functions, since, until, take or _throw_away)


class HandsOverWithoutRoom(Sound):
    """Hands over to who has said that it is full."""

    class store(Store):
        def claim(
            self, worker: str, functions: AbstractSet[str] | None, limit: int, lease: Micros, max_deliveries: int | None
        ) -> Claimed:
            claimed = super().claim(worker, functions, limit, lease, max_deliveries)
            return claimed._replace(mark=cast("Since", claimed.mark)._replace(has_room=True))


class HandsOverHolds(Sound):
    """Hands over what replaces a run before that has ended."""

    class store(Store):
        def _displace(self, entry: Entry, now: Micros) -> None:
            super()._displace(entry, now)
            entry.hold = None


class HandsOverAndKeeps(Sound):
    """What was handed over can be claimed as well."""

    class store(Store):
        def _hand_over(self, part: Part, waiter: Waiter, now: Micros) -> None:
            super()._hand_over(part, waiter, now)
            self.ack(Ack.release(part.claim()), now)


class HandsOverMore(Sound):
    """Hands over all that comes until the wait has ended."""

    class store(Store):
        def _hand_over(self, part: Part, waiter: Waiter, now: Micros) -> None:
            take = waiter.take
            super()._hand_over(part, waiter, now)
            waiter.take = take


class LosesWhatIsHandedOver(Sound):
    """What is handed over to a wait that is cancelled meanwhile comes back when its lease has lapsed only."""

    class store(Store):
        def _hand_over(self, part: Part, waiter: Waiter, now: Micros) -> None:
            take = waiter.take

            def tell(claims: Sequence[Claim], now: Micros) -> None:
                if take is not None and waiter in self.waiters:
                    take(claims, now)

            def tell_later(claims: Sequence[Claim], now: Micros) -> None:
                asyncio.get_running_loop().call_soon(tell, claims, now)

            waiter.take = tell_later
            super()._hand_over(part, waiter, now)


class HandsOverForShort(Sound):
    """What was handed over has a lease of its own length."""

    class store(Store):
        def _hand_over(self, part: Part, waiter: Waiter, now: Micros) -> None:
            waiter.mark = waiter.mark._replace(lease=SECOND)
            super()._hand_over(part, waiter, now)


class HandsOverOnce(Sound):
    """The second wait that counts from one claim never ends."""

    class store(Store):
        used: Since | None = None

        def _hand_over(self, part: Part, waiter: Waiter, now: Micros) -> None:
            super()._hand_over(part, waiter, now)
            self.used = waiter.mark

    async def wait(
        self, functions: AbstractSet[str] | None, since: Mark, until: Micros | None, take: Take | None = None
    ) -> None:
        if getattr(self._store, "used", None) is since:
            await asyncio.Event().wait()
        await super().wait(functions, since, until, take)


CLAIMING = (
    Mutant(ClientClock, ("TestAdding.test_schedule_makes_ready_at_its_time",)),
    Mutant(Early, ("TestAdding.test_never_early",)),
    Mutant(
        LosesDedup,
        ("TestAdding.test_keep_keeps_the_first", "TestAdding.test_of_many_adds_one_is_accepted"),
    ),
    Mutant(ForgetsRuns, ("TestAdding.test_repeated_add_changes_nothing",)),
    Mutant(ForgetsHeldRuns, ("TestHolds.test_repeated_add_of_a_hold_changes_nothing",)),
    Mutant(ReplacesAgain, ("TestHolds.test_repeated_replace_changes_nothing",)),
    Mutant(AtMostOnce, ("TestLeases.test_takeover_is_a_redelivery", "TestRecovery.test_first_recovery_is_not_delayed")),
    Mutant(
        GrantsTwice, ("TestClaiming.test_nothing_is_granted_twice", "TestClaiming.test_racing_claims_share_the_work")
    ),
    Mutant(
        IgnoresFunctions,
        ("TestClaiming.test_only_functions_asked_for", "TestLeases.test_takeover_respects_functions"),
    ),
    Mutant(NewestFirst, ("TestClaiming.test_order_within_a_function",)),
    Mutant(NeverPoison, ("TestPoison.test_too_often_granted_is_failed", "TestPoison.test_the_others_go_on")),
    Mutant(HastyRecovery, ("TestRecovery.test_later_recoveries_wait",)),
    Mutant(ForgetsLeases, ("TestClaiming.test_next_at_is_a_leases_end",)),
    Mutant(RenewsLapsed, ("TestLeases.test_lapsed_lease_cannot_be_renewed",)),
    Mutant(
        LosesPushes,
        (
            "TestWait.test_ends_at_a_push",
            "TestWait.test_push_before_the_wait_is_not_lost",
            "TestWait.test_end_of_a_hold_before_the_wait_is_not_lost",
        ),
    ),
    Mutant(WakesNobody, ("TestWait.test_ends_at_a_push", "TestWait.test_every_waiter_is_woken")),
    Mutant(ForgetsFreedPermits, ("TestWait.test_permit_freed_before_the_wait_is_not_lost",)),
    Mutant(Oversleeps, ("TestWait.test_work_is_found_without_a_push", "TestWait.test_ends_after_two_seconds")),
    Mutant(SleepsThroughBreaks, ("TestWait.test_lost_push_costs_latency_only",)),
    Mutant(SpinsInWait, ("TestWait.test_sleeps_while_nothing_happens",)),
    Mutant(HandsOverToAnybody, ("TestHandingOver.test_only_of_the_functions_that_are_waited_for",)),
    Mutant(HandsOverToNobody, ("TestHandingOver.test_nothing_to_who_takes_nothing",)),
    Mutant(HandsOverMore, ("TestHandingOver.test_no_more_than_there_is_room_for",)),
    Mutant(HandsOverWithoutRoom, ("TestHandingOver.test_nothing_where_there_is_no_room",)),
    Mutant(HandsOverHolds, ("TestHandingOver.test_not_while_a_hold_is_running",)),
    Mutant(HandsOverAndKeeps, ("TestHandingOver.test_it_is_a_claim",)),
    Mutant(LosesWhatIsHandedOver, ("TestHandingOver.test_a_cancelled_wait_loses_nothing",)),
    Mutant(HandsOverForShort, ("TestHandingOver.test_its_lease_counts_from_then",)),
    Mutant(HandsOverOnce, ("TestHandingOver.test_the_mark_is_still_good",)),
)
