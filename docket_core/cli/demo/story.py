"""What happens in the demo, in its order. A step waits for what is true in the store, and never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from docket_core.backend.states import State
from docket_core.cli.demo.evidence import (
    Evidence,
    is_struck,
    plain_loop,
    read_records,
    read_results,
    redelivered,
    run_times,
)
from docket_core.cli.demo.files import File, Plan, checksum
from docket_core.cli.demo.fleet import Fleet, Member
from docket_core.cli.demo.screen import Screen
from docket_core.docket import Docket
from docket_core.execution import Disposition, Execution

POLL = 0.05
"""How often the demo looks how far the tasks are, in seconds."""
STRIKE_AT, RESTORE_AT, KILL_AT = 0.10, 0.35, 0.50
"""After which share of all tasks."""
PORTION = 500
Condition = Callable[[], Awaitable[bool]]


class DemoFailed(Exception):
    """The demo could not be told to its end; the text says why."""


class Depth(NamedTuple):
    """How many tasks there are."""

    running: int
    waiting: int

    @property
    def live(self) -> int:
        return self.running + self.waiting


class Story:
    """One demo.

    Args:
        docket: open, empty.
        plan: which files.
        fleet: where workers are started.
        pace: how long each task takes at least, in seconds.
        screen: where it is shown.
        timeout: after so many seconds the demo has failed.
    """

    def __init__(self, docket: Docket, plan: Plan, fleet: Fleet, pace: float, screen: Screen, timeout: float) -> None:
        self._docket = docket
        self._plan = plan
        self._fleet = fleet
        self._pace = pace
        self._screen = screen
        self._deadline = time.monotonic() + timeout
        self._executions: dict[str, Execution] = {}
        self._added = 0
        self._struck: set[str] = set()
        self._held = 0

    async def tell(self, workers: int) -> Evidence:
        """Run the demo from its start to its end.

        Raises:
            DemoFailed: it came to no end.
        """
        files = {file.key: file for file in self._plan.files}
        with self._screen.live(len(files)):
            await self._start_workers(workers)
            await self._add_all()
            await self._strike()
            await self._restore(files)
            await self._kill()
            await self._start_workers(1)
            await self._finish(files)
            good_order = self._fleet.end()
            self._screen.event(
                "end", f"all tasks have ended; the workers were {self._fleet.members[0].how_ended} and have left"
            )
            return await self._evidence(good_order)

    async def _start_workers(self, number: int) -> None:
        """Start some, and wait until they have shown themselves in the store."""
        members = [self._fleet.start() for _ in range(number)]
        names = {member.name for member in members}

        async def are_there() -> bool:
            return names <= {worker.name for worker in await self._docket.workers()}

        await self._until("workers to show themselves", are_there)
        for member in members:
            self._screen.event("worker", f"{member.name} is there, {member.place}")

    async def _add_all(self) -> None:
        began = time.monotonic()
        for start in range(0, len(self._plan.files), PORTION):
            await self._add(self._plan.files[start : start + PORTION])
        took = time.monotonic() - began
        self._screen.event("add", f"{self._added} tasks in {took:.2f} s, one for each file")

    async def _add(self, files: Sequence[File]) -> None:
        calls = [
            self._docket.call(checksum, key=file.key)(file.path, kind=file.kind, pace=self._pace) for file in files
        ]
        for execution in await self._docket.add_many(calls):
            if execution.disposition is not Disposition.SCHEDULED:
                why = execution.error or execution.disposition.value
                raise DemoFailed(f"{execution.key} was not taken by the store: {why}")
            self._executions[execution.key] = execution
        self._added += len(calls)

    async def _strike(self) -> None:
        await self._until("the first tasks to end", self._ended_share(STRIKE_AT))
        await self._docket.strike(checksum, "kind", "==", self._plan.struck_kind)
        number = len(self._plan.strikable)
        self._screen.event("strike", f"checksum where kind == {self._plan.struck_kind!r}: {number} files", "red")

    async def _restore(self, files: Mapping[str, File]) -> None:
        reached = self._ended_share(RESTORE_AT)

        async def far_enough() -> bool:
            """Far enough, and something was struck; or there is nothing left to be struck."""
            return await reached() and (not (await self._depth()).live or bool(await self._struck_now()))

        await self._until("tasks to be struck", far_enough)
        await self._docket.restore(checksum, "kind", "==", self._plan.struck_kind)
        again = await self._add_struck_again(files)
        self._screen.event("restore", f"{again} tasks were struck and ended CANCELLED; they are added again", "green")

    async def _struck_now(self) -> dict[str, str]:
        """The keys that stand as ended by the strike, and their runs."""
        records = await read_records(self._docket, self._plan.strikable)
        ended = {key: record.last for key, record in records.items() if record.live is None}
        return {key: last.run for key, last in ended.items() if last is not None and is_struck(last)}

    async def _add_struck_again(self, files: Mapping[str, File]) -> int:
        struck = await self._struck_now()
        self._struck |= set(struck.values())
        await self._add([files[key] for key in struck])
        return len(struck)

    async def _kill(self) -> None:
        await self._until("half of the tasks to end", self._ended_share(KILL_AT))
        victim = self._fleet.members[0]
        enough = self._fleet.settings.concurrency // 2 + 1

        async def holds_tasks() -> bool:
            """Caught with tasks in its hands, and standing still; or there is nothing left to hold."""
            nonlocal enough
            enough = max(1, enough - 1)
            victim.pause()
            self._held = await self._held_by(victim)
            if self._held >= enough or not (await self._depth()).live:
                return True
            victim.resume()
            return False

        await self._until(f"{victim.name} to hold tasks", holds_tasks, every=POLL / 10)
        victim.kill()
        self._screen.event("kill", f"{victim.how_killed} {victim.name}, which holds {self._held} tasks", "bold red")

    async def _held_by(self, member: Member) -> int:
        page = await self._docket.backend.scan({State.RUNNING}, PORTION)
        return sum(record.live is not None and record.live.worker == member.name for record in page.records)

    async def _finish(self, files: Mapping[str, File]) -> None:
        """Wait for the end; what was struck before a worker had heard of the restore is added once more."""

        async def all_ended() -> bool:
            return not (await self._depth()).live and not await self._add_struck_again(files)

        await self._until("all tasks to end", all_ended)

    async def _evidence(self, good_order: bool) -> Evidence:
        records = await read_records(self._docket, list(self._executions))
        results = await read_results(self._executions)
        expected, loop_seconds = plain_loop(self._plan.files)
        self._screen.event("check", f"a plain loop over the files took {loop_seconds:.2f} s")
        run_seconds, best_second = run_times(records.values())
        return Evidence(
            results=results,
            expected=expected,
            loop_seconds=loop_seconds,
            run_seconds=run_seconds,
            best_second=best_second,
            struck=len(self._struck),
            redelivered=redelivered(records.values()),
            held=self._held,
            good_order=good_order,
        )

    async def _depth(self) -> Depth:
        rows = [row for row in await self._docket.backend.counts() if row.function == checksum.__name__]
        depth = Depth(sum(row.running for row in rows), sum(row.scheduled + row.queued + row.parked for row in rows))
        self._screen.progress(self._added - depth.live, self._added, depth.running, depth.waiting)
        return depth

    def _ended_share(self, share: float) -> Condition:
        """Whether so many of the added tasks have ended."""

        async def reached() -> bool:
            return (self._added - (await self._depth()).live) >= share * self._added

        return reached

    async def _until(self, what: str, condition: Condition, every: float = POLL) -> None:
        while not await condition():
            if self._fleet.dead:
                member = self._fleet.dead[0]
                raise DemoFailed(f"{member.name} ended by itself with exit code {member.exit_code}")
            if time.monotonic() > self._deadline:
                left = (await self._depth()).live
                raise DemoFailed(f"it took too long, while waiting for {what}; {left} tasks have not ended")
            await asyncio.sleep(every)
