"""A subscription: the newest that is known of each key, and what of it has not been read yet."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet

from docket_core.backend.news import TOPIC_OF, Unread, events_of
from docket_core.backend.records import Event, ProgressMade, Record, StateChanged, Topic
from docket_core.backend.states import State

MOST_REMEMBERED = 10_000
"""Keys of which a subscription to all keys remembers what it has told."""
_PENDING = (State.SCHEDULED, State.QUEUED)


class _Known:
    """What has been told of one key."""

    __slots__ = ("number", "told")

    def __init__(self) -> None:
        self.number = 0
        """The place in the docket's sequence up to which all is known."""
        self.told: dict[str, Event] = {}


class Subscription:
    """Live events for one reader, on the event loop."""

    def __init__(
        self,
        topics: AbstractSet[Topic],
        keys: Sequence[str] | None,
        look: Callable[["Subscription", Sequence[str]], Awaitable[None]],
    ) -> None:
        self.kinds = frozenset(kind for kind, topic in TOPIC_OF.items() if topic in topics)
        """The events that it tells of."""
        self.wants_events = not topics <= {Topic.CANCEL}
        """Whether it wants more than the rare requests to cancel."""
        self.keys: set[str] | None = None if keys is None else set(keys)
        self._look = look
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unread = Unread()
        self._bell = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._unread:
            if self._closed:
                raise StopAsyncIteration
            self._bell.clear()
            await self._bell.wait()
        return self._unread.pop()

    async def watch(self, keys: Sequence[str]) -> None:
        if self.keys is not None:
            new = [key for key in keys if key not in self.keys]
            self.keys.update(new)
            if new:
                await self._look(self, new)

    async def unwatch(self, keys: Sequence[str]) -> None:
        if self.keys is not None:
            self.keys.difference_update(keys)
            for key in keys:
                self._known.pop(key, None)

    def close(self) -> None:
        self._closed = True
        self._bell.set()

    def hear(self, number: int, event: Event) -> None:
        """An event of one of its kinds, which was told with its place in the docket's sequence."""
        if self.keys is not None and event.key not in self.keys:
            return
        known = self._remember(event.key)
        if number <= known.number:
            return
        known.number = number
        known.told[_kind(event)] = event
        self._tell(event)

    def see(self, key: str, number: int, record: Record | None, *, silently: bool = False) -> None:
        """The record as it was read when the docket's sequence stood at `number`."""
        if self.keys is not None and key not in self.keys:
            return
        known = self._remember(key)
        if number < known.number:
            return
        known.number = number
        for event in events_of(record) if record is not None else ():
            kind = _kind(event)
            told = known.told.get(kind)
            known.told[kind] = event
            if not silently and not _is_same(told, event):
                self._tell(event)

    def _remember(self, key: str) -> _Known:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known()
            if self.keys is None and len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        elif self.keys is None:
            self._known.move_to_end(key)
        return known

    def _tell(self, event: Event) -> None:
        if type(event) in self.kinds:
            self._unread.put(event)
            self._bell.set()


def _kind(event: Event) -> str:
    """Of each kind one event, the newest, tells all."""
    if isinstance(event, StateChanged):
        return "live" if event.completed_at is None else "last"
    return "progress" if isinstance(event, ProgressMade) else f"cancel {event.token}"


def _is_same(told: Event | None, seen: Event) -> bool:
    """Whether `seen` is what was told; that a time has come since is no news."""
    if isinstance(told, StateChanged) and isinstance(seen, StateChanged) and {told.state, seen.state} <= {*_PENDING}:
        return told._replace(state=seen.state) == seen
    return told == seen
