"""Broken at isolation, bounds, retention, readers, presence and strikes."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import Micros
from docket_core.backend.hookspecs import Opening
from docket_core.backend.kit import refusal_of_task
from docket_core.backend.model import Enqueued, EnqueueStatus, OnConflict, Task
from docket_core.backend.records import FunctionCounts, Page, StrikeRule
from docket_core.backend.states import State
from docket_memory.store import Store
from tests.conformance.mutants.mutant import Mutant, Sound


class MixesDockets(Sound):
    """Tells dockets apart by a part of their names only."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._identity = (opening.url.text, opening.name[:44])


class LeaksForeignErrors(Sound):
    """Lets through what encoding a bad key raises."""

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        for task in tasks:
            task.key.encode()
        return await super().enqueue(tasks, on_conflict)


class LeaksDriverErrors(Sound):
    """Lets through what its driver raises for a lost connection."""

    fault = ConnectionResetError


class FailsTheBatch(Sound):
    """One bad item refuses them all."""

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        for task in tasks:
            error = refusal_of_task(task, self.capabilities.max_payload)
            if error is not None:
                return [Enqueued(EnqueueStatus.REFUSED, task.run, error=error) for task in tasks]
        return await super().enqueue(tasks, on_conflict)


class KeepsForEver(Sound):
    """Ignores retention."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening._replace(retention=opening.retention * 1000))


class KeepsNothing(Sound):
    """Forgets an outcome at once."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening._replace(retention=0))


class NeverPrunes(Sound):
    """Leaves everything to lie."""

    async def prune(self, limit: int) -> int:
        return 0


class PrunesUnbounded(Sound):
    """Removes all at once, whatever it was asked for."""

    async def prune(self, limit: int) -> int:
        return await super().prune(1_000_000)


class ScansTwice(Sound):
    """Tells the last record of a page once more on the next."""

    async def scan(self, states: AbstractSet[State], limit: int, after: str | None = None) -> Page:
        page = await super().scan(states, limit, after)
        if page.after is None or len(page.records) < 2:
            return page
        return page._replace(after=page.records[-2].key)


class CountsParkedAsScheduled(Sound):
    """Does not tell parked tasks from scheduled ones."""

    async def counts(self) -> Sequence[FunctionCounts]:
        return [row._replace(scheduled=row.scheduled + row.parked, parked=0) for row in await super().counts()]


class WorkersNeverDie(Sound):
    """Shows a worker that has not been seen for long."""

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        await super().heartbeat(worker, functions, ttl * 1000)


class KeepsOldRules(Sound):
    """Tells of rules that were removed."""

    class store(Store):
        def strike(self, rule_id: str, instruction: bytes | None) -> int:
            place = super().strike(rule_id, instruction)
            if instruction is None:
                self.rules[rule_id] = StrikeRule(rule_id, b"", place)
            return place


class KeepsTheirOrder(Sound):
    """A rule that is said again keeps its old place."""

    class store(Store):
        def strike(self, rule_id: str, instruction: bytes | None) -> int:
            known = list(self.rules)
            place = super().strike(rule_id, instruction)
            self.rules = {rule: self.rules[rule] for rule in [*known, *self.rules] if rule in self.rules}
            return place


class CountsRulesInForce(Sound):
    """Takes how many rules are in force for the place of an instruction."""

    class store(Store):
        def strike(self, rule_id: str, instruction: bytes | None) -> int:
            self.strikes = len(self.rules)
            return super().strike(rule_id, instruction)


BOOKKEEPING = (
    Mutant(
        MixesDockets, ("TestIsolation.test_two_dockets_share_nothing", "TestIsolation.test_dockets_with_alike_names")
    ),
    Mutant(LeaksForeignErrors, ("TestBounds.test_bad_keys_are_refused",)),
    Mutant(LeaksDriverErrors, ("TestErrors.test_no_drivers_error_leaks",)),
    Mutant(FailsTheBatch, ("TestBounds.test_one_bad_item_never_fails_its_neighbours",)),
    Mutant(
        KeepsForEver, ("TestRetention.test_kept_for_the_retention", "TestRetention.test_released_is_absent_to_adds")
    ),
    Mutant(KeepsNothing, ("TestRetention.test_kept_for_the_retention", "TestEnds.test_complete_writes_the_result")),
    Mutant(NeverPrunes, ("TestPrune.test_in_portions", "TestPrune.test_ends_lapsed_cancels_and_holds")),
    Mutant(PrunesUnbounded, ("TestPrune.test_in_portions",)),
    Mutant(ScansTwice, ("TestRecords.test_scan_in_pages",)),
    Mutant(CountsParkedAsScheduled, ("TestRecords.test_counts",)),
    Mutant(WorkersNeverDie, ("TestWorkers.test_forgotten_after_its_ttl",)),
    Mutant(KeepsOldRules, ("TestStrikes.test_none_removes_the_rule",)),
    Mutant(KeepsTheirOrder, ("TestStrikes.test_newest_of_a_rule_counts",)),
    Mutant(CountsRulesInForce, ("TestStrikes.test_every_instruction_has_its_place",)),
)
