"""Live events: what notifications tell, and what a look at the store shows where they may have been lost."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

from docket_core.backend.news import TOPIC_OF, Unread, events_of
from docket_core.backend.records import CancelRequested, Event, Progress, ProgressMade, Record, StateChanged, Topic
from docket_core.backend.states import TERMINAL
from docket_core.errors import BackendError
from docket_postgres.rows import STATES

_MANY = 10_000
_POLL = 1.0


class PostgresSubscription:
    """One subscriber's events, the newest of each kind, key and state."""

    def __init__(
        self,
        topics: AbstractSet[Topic],
        keys: Sequence[str] | None,
        get: Callable[[Sequence[str]], Awaitable[Sequence[Record | None]]],
        is_listening: Callable[[], bool],
    ) -> None:
        self._topics = topics
        self._keys = None if keys is None else set(keys)
        self._get = get
        self._is_listening = is_listening
        self._ring = asyncio.Event()
        self._unread = Unread()
        self._look_at: set[str] = set()
        self._seen: dict[str, StateChanged] = {}
        self.started = False
        """Set once it is entered: a gap before that is none."""

    def heard(self, payload: str | None) -> None:
        """Take in a notification; None says that any may have been lost."""
        if payload is None:
            if self.started and self._keys is not None:
                self._look_at |= self._keys
        else:
            kind, key, *rest = cast("list[Any]", json.loads(payload))
            if self._keys is not None and key not in self._keys:
                return
            if kind == "k":
                self._look_at.add(key)
            else:
                self._tell(_event(kind, key, rest))
        if self._look_at or self._unread:
            self._ring.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._unread:
            await self._news()
            if self._look_at:
                await self._look()
        return self._unread.pop()

    async def watch(self, keys: Sequence[str]) -> None:
        """Also tell of these keys."""
        if self._keys is not None:
            self._keys.update(keys)

    async def unwatch(self, keys: Sequence[str]) -> None:
        """Tell no more of these keys."""
        if self._keys is not None:
            self._keys.difference_update(keys)
            for key in keys:
                self._seen.pop(key, None)

    async def _news(self) -> None:
        """Return when there is something to tell or to look at."""
        while not self._ring.is_set():
            try:
                async with asyncio.timeout(_POLL * (0.8 + 0.2 * random.random())):
                    await self._ring.wait()
            except TimeoutError:
                if self._keys and not self._is_listening():
                    self._look_at |= self._keys
                    break
        self._ring.clear()

    async def _look(self) -> None:
        keys, self._look_at = list(self._look_at), set()
        try:
            found = await self._get(keys)
        except asyncio.CancelledError:  # whoever reads on finds them
            self._look_at |= set(keys)
            self._ring.set()
            raise
        except BackendError:  # it is away: look again later
            self._look_at |= set(keys)
            await asyncio.sleep(_POLL * random.random())
            self._ring.set()
            return
        for record in found:
            if record is not None:
                for event in events_of(record):
                    if not isinstance(event, StateChanged) or not self._same(event):
                        self._tell(event)

    def _same(self, event: StateChanged) -> bool:
        seen = self._seen.get(event.key)
        return seen is not None and (seen.run, seen.generation, seen.state) == (
            event.run,
            event.generation,
            event.state,
        )

    def _tell(self, event: Event) -> None:
        if TOPIC_OF[type(event)] not in self._topics or (isinstance(event, StateChanged) and not self._is_news(event)):
            return
        self._unread.put(event)

    def _is_news(self, event: StateChanged) -> bool:
        """Whether it does not go back behind what was told of the key; a look may overtake a notification."""
        seen = self._seen.get(event.key)
        if seen is not None:
            if seen.run == event.run:
                if event.generation < seen.generation:
                    return False
                if event.generation == seen.generation and seen.state in TERMINAL:
                    return False
            elif event.generation < seen.generation and seen.state not in TERMINAL:
                return False
        self._seen.pop(event.key, None)
        self._seen[event.key] = event
        if len(self._seen) > _MANY:
            del self._seen[next(iter(self._seen))]
        return True


def _event(kind: str, key: str, rest: list[Any]) -> Event:
    if kind == "s":
        run, generation, state, *others = rest
        return StateChanged(key, run, generation, STATES[state], *others)
    if kind == "p":
        run, generation, *progress = rest
        return ProgressMade(key, run, generation, Progress(*progress))
    return CancelRequested(key, *rest)
