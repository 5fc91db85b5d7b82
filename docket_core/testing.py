"""For the tests of applications: assertions on what is on a docket, and a clock that moves by itself."""

import asyncio
import heapq
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Any, Self

from docket_core.backend.clock import Handle, ManualClock, Micros, background, guarding, to_micros
from docket_core.backend.states import PENDING
from docket_core.backend.watch import TELEMETRY, Watch, Watcher
from docket_core.docket import Docket
from docket_core.execution import Execution
from docket_core.functions import AnyFunction
from docket_core.snapshot import execution_of

__all__ = [
    "AutoClock",
    "ManualClock",
    "assert_no_tasks",
    "assert_task_count",
    "assert_task_not_scheduled",
    "assert_task_scheduled",
    "pending_tasks",
]

START = datetime(2030, 1, 1, tzinfo=UTC)
_QUIET_TURNS = 3
"""So many turns of the event loop in a row with nothing else to run, and all is idle."""
_PAGE = 1000


async def pending_tasks(docket: Docket, function: AnyFunction | str | None = None) -> list[Execution]:
    """The scheduled and queued tasks, of one function or of all, by their time."""
    name = None if function is None else docket.functions.find(function).name
    found: list[Execution] = []
    after: str | None = None
    while True:
        page = await docket.backend.scan(PENDING, _PAGE, after)
        found += [
            execution_of(docket, record.key, record.live)
            for record in page.records
            if record.live is not None and record.live.state in PENDING and name in (None, record.live.function)
        ]
        after = page.after
        if after is None:
            return sorted(found, key=lambda execution: execution.when)


async def assert_task_scheduled(
    docket: Docket,
    function: AnyFunction | str,
    *,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> Execution:
    """Assert that a task of this function is pending, and answer it.

    Args:
        docket: where.
        function: the function, or its name.
        args, kwargs: all the arguments it must have; None does not look.
        key: its key; None does not look.
    """
    pending = await pending_tasks(docket, function)
    for execution in pending:
        if _fits(execution, args, kwargs, key):
            return execution
    raise AssertionError(
        f"no such task of {docket.functions.find(function).name} is scheduled; there are: {_shown(pending)}"
    )


async def assert_task_not_scheduled(
    docket: Docket,
    function: AnyFunction | str,
    *,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> None:
    """Assert that no task of this function, with these arguments or this key, is pending."""
    found = [task for task in await pending_tasks(docket, function) if _fits(task, args, kwargs, key)]
    assert not found, f"there are such tasks: {_shown(found)}"


async def assert_task_count(docket: Docket, function: AnyFunction | str | None = None, *, count: int) -> None:
    """Assert that so many tasks, of one function or of all, are pending."""
    found = await pending_tasks(docket, function)
    assert len(found) == count, f"{len(found)} tasks are scheduled, not {count}: {_shown(found)}"


async def assert_no_tasks(docket: Docket) -> None:
    """Assert that nothing is pending."""
    await assert_task_count(docket, count=0)


def _fits(
    execution: Execution, args: tuple[Any, ...] | None, kwargs: Mapping[str, Any] | None, key: str | None
) -> bool:
    return (
        (args is None or execution.args == tuple(args))
        and (kwargs is None or execution.kwargs == dict(kwargs))
        and (key is None or execution.key == key)
    )


def _shown(executions: list[Execution]) -> str:
    listed = [f"{e.function_name}(*{e.args!r}, **{e.kwargs!r}) as {e.key!r} at {e.when}" for e in executions[:10]]
    return "; ".join(listed) or "none"


class AutoClock(ManualClock):
    """A clock that jumps to the next thing to do whenever all is idle, so that a year passes in seconds.

    `async with AutoClock(start) as clock, Docket(url="memory://test", clock=clock) as docket: …`

    It belongs to the event loop that it is entered on, and to dockets in this process on memory or SQLite. Idle means:
    no operation on the store and no body in a thread is under way, and nothing on the event loop is ready to run. What
    waits for something outside (a socket, real time) looks idle; give `settle` for that. On the way to the next thing
    to do the clock stops wherever a lease is to be renewed.

    Args:
        start: the first moment.
        settle: how long, in real seconds, it must have been idle.
        until: never jump beyond this moment.
    """

    def __init__(
        self,
        start: datetime | Micros = START,
        *,
        settle: float = 0.0,
        until: datetime | None = None,
    ) -> None:
        super().__init__(start)
        self._settle = settle
        self._until = None if until is None else to_micros(until)
        self._foreground = _Timers()
        self._guards = _Timers()
        self._under_way = 0
        self._changes = 0
        self._news = asyncio.Event()
        self._mover: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._mover = asyncio.create_task(self._move(), name="docket clock")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mover is not None:
            self._mover.cancel()
            with suppress(asyncio.CancelledError):
                await self._mover

    def call_at(self, when: Micros, callback: Callable[[], None]) -> Handle:
        handle = super().call_at(when, callback)
        if background.get():
            return handle
        timers = self._guards if guarding.get() else self._foreground
        self._changed()
        return timers.add(when, handle)

    def watcher(self, docket: str) -> Watcher:
        """Lets the clock know of every operation on the store."""
        return _Attention(self, docket)

    def began(self) -> None:
        """An operation is under way."""
        self._under_way += 1
        self._changed()

    def ended(self) -> None:
        """It has ended."""
        self._under_way -= 1
        self._changed()

    def _changed(self) -> None:
        self._changes += 1
        self._news.set()

    async def _move(self) -> None:
        while True:
            await self._idle()
            now = self.now()
            due = self._foreground.after(now)
            if due is None or (self._until is not None and due > self._until):
                await self._more()
                continue
            guard = self._guards.after(now)
            self.set(due if guard is None else min(due, guard))

    async def _idle(self) -> None:
        """Return once nothing is ready to run and nothing is under way."""
        quiet = 0
        settled = -1
        while True:
            if self._under_way:
                await self._more()
            await asyncio.sleep(0)  # everything else that is ready has its turn, and the selector is asked
            quiet = 0 if self._under_way or _others_are_ready() else quiet + 1
            if quiet < _QUIET_TURNS:
                continue
            if not self._settle or settled == self._changes:
                return
            settled = self._changes
            await asyncio.sleep(self._settle)
            quiet = 0

    async def _more(self) -> None:
        self._news.clear()
        await self._news.wait()


def _others_are_ready() -> bool:
    """Whether the running loop has callbacks to run beside the caller; where it does not say, a few turns must do."""
    ready: Sequence[object] = getattr(asyncio.get_running_loop(), "_ready", ())
    return len(ready) > 0


class _Timers:
    """Calls that the clock moves for, by their time."""

    def __init__(self) -> None:
        self._heap: list[tuple[Micros, int, _Timer]] = []
        self._numbers = count()

    def add(self, when: Micros, handle: Handle) -> "_Timer":
        timer = _Timer(handle)
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        return timer

    def after(self, now: Micros) -> Micros | None:
        """The earliest that is later than `now` and was not called off."""
        while self._heap and (self._heap[0][2].cancelled or self._heap[0][0] <= now):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


class _Timer:
    """Remembers that a call was called off, so that the clock does not move for it."""

    __slots__ = ("_handle", "cancelled")

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.cancelled = False

    def cancel(self) -> None:
        self._handle.cancel()
        self.cancelled = True


class _Busy(Watch):
    """One operation, of which the clock is told."""

    __slots__ = ("_clock",)

    def __init__(self, clock: AutoClock, docket: str, operation: str) -> None:
        super().__init__(TELEMETRY, docket, operation)
        self._clock = clock

    def __enter__(self) -> Self:
        self._clock.began()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clock.ended()


class _Attention(Watcher):
    """Watches for an `AutoClock`; waiting for work is no work."""

    def __init__(self, clock: AutoClock, docket: str) -> None:
        super().__init__(docket, TELEMETRY, instrumented=False)
        self._clock = clock
        self._docket_name = docket

    def __call__(self, operation: str, size: int | None = None) -> Watch:
        del size
        return _Busy(self._clock, self._docket_name, operation)
