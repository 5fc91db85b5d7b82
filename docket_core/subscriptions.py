"""Following one run live: first what is so now, then what changes, to its end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from docket_core.backend.clock import SECOND, Micros, from_micros
from docket_core.backend.kit import jittered
from docket_core.backend.protocol import Subscription
from docket_core.backend.records import Event, Progress, ProgressMade, Record, StateChanged, Topic
from docket_core.backend.states import TERMINAL, State
from docket_core.errors import BackendUnavailable

if TYPE_CHECKING:
    from docket_core.execution import Execution

CHECK_INTERVAL: Micros = SECOND
"""A lost event costs at most this much real time: the store is asked when nothing was heard for so long."""


class StateEvent(TypedDict):
    """The run has come into a state."""

    type: Literal["state"]
    key: str
    state: State
    when: datetime
    worker: str | None
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None


class ProgressEvent(TypedDict):
    """The run has got further."""

    type: Literal["progress"]
    key: str
    current: int
    total: int | None
    message: str | None
    updated_at: datetime | None


async def subscribe(
    execution: "Execution", ready: asyncio.Event | None
) -> AsyncGenerator[StateEvent | ProgressEvent, None]:
    """The events of one run, ending with its terminal state, or when it is replaced or forgotten."""
    backend = execution.docket.backend
    async with backend.subscribe({Topic.STATE, Topic.PROGRESS}, [execution.key]) as subscription:
        teller = _Teller(execution)
        record = (await backend.get([execution.key]))[0]
        if ready is not None:
            ready.set()
        for told in teller.from_record(record):
            yield told
        events = _Merged(execution, subscription)
        try:
            while not teller.ended:
                news = await events.next()
                if isinstance(news, ProgressMade) and not teller.knows_start_of(news):
                    # Its start was missed: a store may tell of it only those it knew to listen when it was claimed.
                    with suppress(BackendUnavailable):
                        news = (await backend.get([execution.key]))[0]
                if news is None or isinstance(news, Record):
                    told_now = teller.from_record(news)
                else:
                    told_now = teller.from_event(news)
                for told in told_now:
                    yield told
        finally:
            await events.close()


class _Merged:
    """Live events, and the record whenever nothing was heard for a while."""

    def __init__(self, execution: "Execution", subscription: Subscription) -> None:
        self._execution = execution
        self._events = aiter(subscription)
        self._next: asyncio.Future[Event] | None = None

    async def next(self) -> Event | Record | None:
        """The next event; the record, or None for none, if nothing was heard for `CHECK_INTERVAL`."""
        docket = self._execution.docket
        while True:
            if self._next is None:
                self._next = asyncio.ensure_future(anext(self._events))
            timer: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(jittered(CHECK_INTERVAL) / SECOND))
            waited_for: set[asyncio.Future[Any]] = {self._next, timer}
            try:
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
            if self._next.done():
                event, self._next = self._next.result(), None
                return event
            with suppress(BackendUnavailable):
                return (await docket.backend.get([self._execution.key]))[0]

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            with suppress(asyncio.CancelledError):
                await self._next


class _Teller:
    """Turns what is seen into what is told: each thing once, and never backwards."""

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self._state: tuple[int, State] | None = None
        self._progress: tuple[int, Progress] | None = None
        self.ended = False

    def knows_start_of(self, progress: ProgressMade) -> bool:
        """Whether it was told that this run, in this generation, is running."""
        if progress.run != self._execution.run:
            return True
        return self._state is not None and (self._state[0], _ORDER[self._state[1]]) >= (
            progress.generation,
            _ORDER[State.RUNNING],
        )

    def from_record(self, record: Record | None) -> list[StateEvent | ProgressEvent]:
        run = self._execution.run
        if record is not None:
            live, last = record.live, record.last
            if live is not None and live.run == run:
                told = self._state_event(
                    live.generation, live.state, live.when, live.worker, live.started_at, None, None
                )
                if live.progress is not None:
                    told += self._progress_event(live.generation, live.progress)
                return told
            if last is not None and last.run == run:
                return self._state_event(
                    last.generation,
                    last.state,
                    last.when,
                    last.worker,
                    last.started_at,
                    last.completed_at,
                    last.error,
                )
        self.ended = True  # replaced, or nothing is kept of it any more
        return []

    def from_event(self, event: Event) -> list[StateEvent | ProgressEvent]:
        if isinstance(event, StateChanged):
            if event.run != self._execution.run:
                return []  # of another run: whether ours was replaced, the next record tells
            return self._state_event(
                event.generation,
                event.state,
                event.when,
                event.worker,
                event.started_at,
                event.completed_at,
                event.error,
            )
        if isinstance(event, ProgressMade) and event.run == self._execution.run:
            return self._progress_event(event.generation, event.progress)
        return []

    def _state_event(
        self,
        generation: int,
        state: State,
        when: Micros,
        worker: str | None,
        started_at: Micros | None,
        completed_at: Micros | None,
        error: str | None,
    ) -> list[StateEvent | ProgressEvent]:
        if self.ended or (
            self._state is not None and (generation, _ORDER[state]) <= (self._state[0], _ORDER[self._state[1]])
        ):
            return []
        self._state = (generation, state)
        self.ended = state in TERMINAL
        return [
            StateEvent(
                type="state",
                key=self._execution.key,
                state=state,
                when=from_micros(when),
                worker=worker,
                started_at=_moment(started_at),
                completed_at=_moment(completed_at),
                error=error,
            )
        ]

    def _progress_event(self, generation: int, progress: Progress) -> list[StateEvent | ProgressEvent]:
        if self._progress == (generation, progress):
            return []
        self._progress = (generation, progress)
        return [
            ProgressEvent(
                type="progress",
                key=self._execution.key,
                current=progress.current,
                total=progress.total,
                message=progress.message,
                updated_at=_moment(progress.updated_at),
            )
        ]


def _moment(value: Micros | None) -> datetime | None:
    return from_micros(value) if value is not None else None


_ORDER = {State.SCHEDULED: 0, State.QUEUED: 1, State.RUNNING: 2} | dict.fromkeys(TERMINAL, 3)
