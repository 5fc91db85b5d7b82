"""Broken at acks, cancels, replaces and clears."""

import asyncio
from collections.abc import Sequence

from docket_core.backend.clock import Micros
from docket_core.backend.model import Ack, Acked, CancelReply, Ended, ProgressReply, ProgressUpdate, Verdict
from docket_core.backend.states import State
from docket_memory.parts import Entry, Part
from docket_memory.store import Store
from tests.conformance.mutants.mutant import Mutant, Sound


class NoFence(Sound):
    """Whoever acks ends the task."""

    class store(Store):
        def ack(self, ack: Ack, now: Micros) -> Acked:
            entry = self.entry(ack.claim.key, now)
            if entry is not None and entry.live is not None and entry.live.running:
                ack = ack._replace(claim=entry.live.claim())
            return super().ack(ack, now)


class UnfencedProgress(Sound):
    """Takes a zombie's progress for the holder's."""

    async def progress(self, updates: Sequence[ProgressUpdate]) -> Sequence[ProgressReply]:
        live = {update.claim.key: self._store.entries[update.claim.key].live for update in updates}
        forged = [
            update if (part := live[update.claim.key]) is None else update._replace(claim=part.claim())
            for update in updates
        ]
        return await super().progress(forged)


class ForgetsAcks(Sound):
    """Does not know an ack again whose reply was lost."""

    class store(Store):
        def ack(self, ack: Ack, now: Micros) -> Acked:
            entry = self.entry(ack.claim.key, now)
            if entry is not None:
                entry.acked = 0
            return super().ack(ack, now)


class LosesResults(Sound):
    """Ends a task without its result."""

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
            return super()._end(part, state, now, None, error, reason, forget=forget)


class LosesSuccessors(Sound):
    """Ends a chain with its first run."""

    class store(Store):
        def ack(self, ack: Ack, now: Micros) -> Acked:
            return super().ack(ack._replace(successor=None), now)


class SameGeneration(Sound):
    """A retry does not move the key's generation on."""

    class store(Store):
        def _go_on(self, entry: Entry, part: Part, when: Micros, now: Micros) -> None:
            part.renew_pending(entry.generation, when, now, self.next_sequence())


class CountsReleases(Sound):
    """A task that was given back unrun counts as one that was lost."""

    class store(Store):
        def _give_back(self, part: Part) -> None:
            super()._give_back(part)
            part.delivery += 1


class LosesItsPlace(Sound):
    """A task that was given back goes to the end of the queue."""

    class store(Store):
        def _give_back(self, part: Part) -> None:
            super()._give_back(part)
            part.ready_at, part.sequence = self.clock.now(), self.next_sequence()


class CancelOverwrites(Sound):
    """Cancels what has ended already."""

    class store(Store):
        def cancel(self, key: str, now: Micros) -> CancelReply:
            entry = self.entry(key, now)
            if entry is not None and entry.live is None and entry.last is not None:
                entry.last = entry.last._replace(state=State.CANCELLED)
                return CancelReply.CANCELLED
            return super().cancel(key, now)


class RunsCancelledAgain(Sound):
    """Grants a lapsed task again though its cancel was requested."""

    class store(Store):
        def end_lapsed(self, limit: int, now: Micros) -> list[Ended]:
            for entry in self.entries.values():
                if entry.live is not None and entry.live.lease_until <= now:
                    entry.live.cancel_requested = False
                    self.endings.discard(entry.live.key)
            return super().end_lapsed(limit, now)


class ForgetsHolds(Sound):
    """A replace of a running task frees the key at once."""

    class store(Store):
        def _displace(self, entry: Entry, now: Micros) -> None:
            super()._displace(entry, now)
            if entry.hold is not None:
                self.endings.discard(entry.hold.key)
                entry.hold = None


class ClearsTooMuch(Sound):
    """Clears until nothing is pending, whenever it was added."""

    async def clear(self) -> int:
        cleared = 0
        while keys := [key for key, entry in self._store.entries.items() if entry.live and not entry.live.running]:
            for key in keys[:500]:
                await self.cancel([key])
            cleared += len(keys[:500])
            await asyncio.sleep(0)
        return cleared


class ClearsRunning(Sound):
    """Clears what runs, too."""

    async def clear(self) -> int:
        store = self._store
        running = [entry.live for entry in store.entries.values() if entry.live is not None and entry.live.running]
        acks = [Ack(part.claim(), Verdict.CANCEL) for part in running]
        return await super().clear() + len(await self.ack(acks))


class SilentEnds(Sound):
    """Tells nobody of what ends without an ack."""

    class store(Store):
        def end_lapsed(self, limit: int, now: Micros) -> list[Ended]:
            watched, self.watched = self.watched, False
            try:
                return super().end_lapsed(limit, now)
            finally:
                self.watched = watched


ENDING = (
    Mutant(
        NoFence,
        ("TestZombies.test_after_takeover_nothing", "TestZombies.test_taken_over_by_another_instance"),
    ),
    Mutant(
        UnfencedProgress, ("TestProgress.test_each_grant_begins_from_zero", "TestZombies.test_after_takeover_nothing")
    ),
    Mutant(
        ForgetsAcks,
        ("TestEnds.test_repeated_ack_changes_nothing", "TestSuccessors.test_repeated_ack_makes_one_successor"),
    ),
    Mutant(LosesResults, ("TestEnds.test_complete_writes_the_result",)),
    Mutant(LosesSuccessors, ("TestSuccessors.test_end_and_successor_are_one_step",)),
    Mutant(SameGeneration, ("TestZombies.test_after_the_others_retry_nothing",)),
    Mutant(
        CountsReleases,
        ("TestSuccessors.test_release_gives_it_back_unrun", "TestPoison.test_released_deliveries_are_no_crashes"),
    ),
    Mutant(LosesItsPlace, ("TestSuccessors.test_release_gives_it_back_unrun",)),
    Mutant(
        CancelOverwrites,
        ("TestCancel.test_nothing_live_is_gone", "TestTransitions.test_transition[completed-cancel]"),
    ),
    Mutant(
        RunsCancelledAgain,
        ("TestCancel.test_lapsed_ends_without_another_run", "TestTransitions.test_transition[cancelling-lapse]"),
    ),
    Mutant(
        ForgetsHolds,
        ("TestHolds.test_newer_waits_for_the_holds_ack", "TestHolds.test_newer_waits_for_the_holds_lease_end"),
    ),
    Mutant(ClearsTooMuch, ("TestClear.test_ends_nothing_added_later",)),
    Mutant(
        ClearsRunning, ("TestClear.test_ends_none_that_is_running", "TestTransitions.test_transition[running-clear]")
    ),
    Mutant(SilentEnds, ("TestEvents.test_every_kind_of_end_is_told",)),
)
