"""What can be proved once the demo has run: read from the store's records, the results and the files themselves."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from docket_core.backend.clock import SECOND
from docket_core.backend.records import Last, Record
from docket_core.backend.states import State
from docket_core.cli.demo.files import File, FileSum, sum_of
from docket_core.docket import Docket
from docket_core.execution import Execution

PORTION = 500
"""So many records are read at a time."""

CHECKS = {
    "none_lost": "every file has its result, none is lost",
    "same_checksums": "every checksum is that of a plain loop over the files",
    "same_totals": "so are the totals",
    "struck": "the strike stopped tasks, which ended CANCELLED",
    "taken_over": "tasks of the killed worker were run again by others",
    "good_order": "the other workers ended in good order",
}


class Totals(NamedTuple):
    """The sum over files, and one checksum over all of theirs."""

    files: int
    bytes: int
    lines: int
    sha256: str


class Evidence(NamedTuple):
    """What was measured."""

    results: Mapping[str, FileSum]
    expected: Mapping[str, FileSum]
    """The same from a plain loop over the files."""
    loop_seconds: float
    run_seconds: float
    """From the first start of a task to the last end, by the store's clock."""
    best_second: int
    """The most tasks that ended within one second."""
    struck: int
    """Runs that ended CANCELLED by the strike."""
    redelivered: Mapping[str, int]
    """Runs that were delivered more than once, by the worker that ended them."""
    held: int
    """How many tasks the killed worker held when it was killed."""
    good_order: bool
    """Whether all other workers ended as they should."""

    @property
    def done(self) -> int:
        return len(self.results)

    @property
    def lost(self) -> int:
        """Files without a result."""
        return len(self.expected.keys() - self.results.keys())

    @property
    def wrong(self) -> int:
        """Results that are not those of the plain loop."""
        return sum(result != self.expected.get(key) for key, result in self.results.items())

    @property
    def rate(self) -> float:
        """Tasks per second, waiting for the killed worker's lease to end included."""
        return self.done / self.run_seconds if self.run_seconds else 0.0

    @property
    def checks(self) -> dict[str, bool]:
        """All that must be true, by the names that `CHECKS` explains."""
        return {
            "none_lost": self.lost == 0,
            "same_checksums": self.wrong == 0,
            "same_totals": totals(self.results) == totals(self.expected),
            "struck": self.struck > 0,
            "taken_over": sum(self.redelivered.values()) > 0,
            "good_order": self.good_order,
        }

    @property
    def right(self) -> bool:
        return all(self.checks.values())


def totals(sums: Mapping[str, FileSum]) -> Totals:
    """The sum over files, whatever their order."""
    digest = hashlib.sha256("".join(sums[key].sha256 for key in sorted(sums)).encode()).hexdigest()
    return Totals(len(sums), sum(s.size for s in sums.values()), sum(s.lines for s in sums.values()), digest)


def plain_loop(files: Iterable[File]) -> tuple[dict[str, FileSum], float]:
    """Do the same without docket; the results, and how long it took."""
    began = time.perf_counter()
    sums = {file.key: sum_of(file.path) for file in files}
    return sums, time.perf_counter() - began


async def read_records(docket: Docket, keys: Sequence[str]) -> dict[str, Record]:
    """What the store keeps of these keys."""
    found: dict[str, Record] = {}
    for start in range(0, len(keys), PORTION):
        for record in await docket.backend.get(keys[start : start + PORTION]):
            if record is not None:
                found[record.key] = record
    return found


def is_struck(last: Last | None) -> bool:
    """Whether a run was ended by a strike."""
    return last is not None and last.state is State.CANCELLED and last.reason == "struck"


async def read_results(executions: Mapping[str, Execution]) -> dict[str, FileSum]:
    """The results of those that have one, as anyone gets them who has added a task."""

    async def one(key: str, execution: Execution) -> tuple[str, FileSum | None]:
        with suppress(Exception):  # a task that failed, was cancelled or is gone has no result: that is counted
            return key, await execution.get_result()
        return key, None

    answers = await asyncio.gather(*(one(key, execution) for key, execution in executions.items()))
    return {key: result for key, result in answers if result is not None}


def redelivered(records: Iterable[Record]) -> Counter[str]:
    """Runs that were delivered more than once, by the worker that ended them."""
    lasts = [record.last for record in records if record.last is not None]
    return Counter(last.worker or "nobody" for last in lasts if last.delivery > 1)


def run_times(records: Iterable[Record]) -> tuple[float, int]:
    """Seconds from the first start to the last end; and the most that ended within one second."""
    lasts = [record.last for record in records if record.last is not None and record.last.started_at is not None]
    if not lasts:
        return 0.0, 0
    first = min(last.started_at or last.completed_at for last in lasts)
    ends = sorted(last.completed_at for last in lasts)
    best = begin = 0
    for index, end in enumerate(ends):
        while ends[begin] <= end - SECOND:
            begin += 1
        best = max(best, index - begin + 1)
    return (ends[-1] - first) / SECOND, best
