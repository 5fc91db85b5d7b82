"""Readers of the log: subscriptions, and the strikes. They look again when any process has committed."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar

from docket_core.backend.records import (
    CancelRequested,
    Event,
    ProgressMade,
    StateChanged,
    StrikeEvent,
    StrikeRule,
    StrikesCaughtUp,
    StrikesReset,
    Topic,
)
from docket_core.errors import BackendUnavailable
from docket_lmdb.log import Portion

T = TypeVar("T")
_TOPICS: dict[type[Event], Topic] = {
    StateChanged: Topic.STATE,
    ProgressMade: Topic.PROGRESS,
    CancelRequested: Topic.CANCEL,
}


class Source(Protocol):
    """What a reader needs of its backend."""

    async def read_log(self, since: int) -> Portion: ...

    async def read_rules(self) -> tuple[list[StrikeRule | StrikesCaughtUp], int]: ...

    async def commit_after(self, seen: int | None) -> None: ...


class Listener:
    """A subscription."""

    def __init__(self, source: Source, position: int, topics: AbstractSet[Topic], keys: Sequence[str] | None) -> None:
        self._source = source
        self._position = position
        self._topics = topics
        self._keys = None if keys is None else set(keys)
        self._unread: deque[Event] = deque()
        self._seen: int | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while True:
            while self._unread:
                event = self._unread.popleft()
                if self._keys is None or event.key in self._keys:
                    return event
            portion = await _patiently(self._read)
            self._position = portion.position
            for told in portion.events:
                if not isinstance(told, StrikeRule) and _TOPICS[type(told)] in self._topics:
                    self._unread.append(told)

    async def _read(self) -> Portion:
        await self._source.commit_after(self._seen)
        portion = await self._source.read_log(self._position)
        self._seen = None if portion.events else portion.snapshot
        return portion

    async def watch(self, keys: Sequence[str]) -> None:
        if self._keys is not None:
            self._keys.update(keys)

    async def unwatch(self, keys: Sequence[str]) -> None:
        if self._keys is not None:
            self._keys.difference_update(keys)


class StrikeReader:
    """The rules in force, the word that this was all, then the changes."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._unread: deque[StrikeEvent] = deque()
        self._position: int | None = None
        self._seen: int | None = None

    def __aiter__(self) -> AsyncIterator[StrikeEvent]:
        return self

    async def __anext__(self) -> StrikeEvent:
        while not self._unread:
            await _patiently(self._read)
        return self._unread.popleft()

    async def _read(self) -> None:
        if self._position is None:
            events, self._position = await self._source.read_rules()
            self._unread += events
            return
        await self._source.commit_after(self._seen)
        portion = await self._source.read_log(self._position)
        if portion.broken:
            self._position = None
            self._unread.append(StrikesReset())
            return
        self._seen, self._position = None if portion.events else portion.snapshot, portion.position
        self._unread += [event for event in portion.events if isinstance(event, StrikeRule)]


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What `read` answers, as soon as the store can be read."""
    while True:
        try:
            return await read()
        except BackendUnavailable:
            await asyncio.sleep(0.1)
