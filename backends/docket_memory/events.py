"""Who waits for work, who listens to events, and how they are woken across threads."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from docket_core.backend.clock import Micros
from docket_core.backend.model import Take
from docket_core.backend.news import TOPIC_OF, Unread
from docket_core.backend.records import Event, StrikeEvent, StrikeRule, StrikesCaughtUp, Topic


class Bell:
    """An event that any thread may set for the loop that made it."""

    __slots__ = ("_loop", "event")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def ring(self) -> None:
        if self._is_here():
            self.event.set()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.event.set)

    def _is_here(self) -> bool:
        """Whether its event loop is the one that runs in this thread."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False


class Mark(NamedTuple):
    """What a claim gives to the wait that follows it."""

    pushes: int
    """How often there had been news by then."""
    worker: str
    lease: Micros
    max_deliveries: int | None
    has_room: bool
    """Whether it might have brought more."""


class Waiter(Bell):
    """A worker that has nothing to claim until `until`, or until something for its functions comes."""

    __slots__ = ("functions", "mark", "take", "until")

    def __init__(self, functions: AbstractSet[str] | None, until: Micros | None, mark: Mark, take: Take | None) -> None:
        super().__init__()
        self.functions = functions
        self.until = until
        self.mark = mark
        self.take = take if mark.has_room else None
        """To be called, once, with what was claimed for it by an add: it need not come for it."""

    def takes(self, function: str) -> bool:
        """Whether the next task of `function` may be handed over to it."""
        return (
            self.take is not None
            and (self.functions is None or function in self.functions)
            and not self._loop.is_closed()
        )

    def hand_over(self, deliver: Callable[[], None]) -> None:
        """Call `deliver` on its event loop: at once, if that is the one that runs here."""
        if self._is_here():
            deliver()
        else:
            self._loop.call_soon_threadsafe(deliver)

    def concerns(self, function: str, at: Micros) -> bool:
        """Whether work of `function` that is ready `at` is news to this waiter."""
        return (self.functions is None or function in self.functions) and (self.until is None or at < self.until)


class Listener(Bell):
    """A subscription: what has happened and was not read yet, the newest of each kind, key and state.

    `tell` is called under the store's lock.
    """

    def __init__(self, lock: threading.RLock, topics: AbstractSet[Topic], keys: Sequence[str] | None) -> None:
        super().__init__()
        self._lock = lock
        self._topics = topics
        self._keys = None if keys is None else set(keys)
        self.wants_events = not topics <= {Topic.CANCEL}
        """Whether it wants more than the rare requests to cancel."""
        self._unread = Unread()

    def tell(self, event: Event) -> None:
        if TOPIC_OF[type(event)] in self._topics and (self._keys is None or event.key in self._keys):
            self._unread.put(event)
            self.ring()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while True:
            with self._lock:
                if self._unread:
                    return self._unread.pop()
                self.event.clear()
            await self.event.wait()

    async def watch(self, keys: Sequence[str]) -> None:
        with self._lock:
            if self._keys is not None:
                self._keys.update(keys)

    async def unwatch(self, keys: Sequence[str]) -> None:
        with self._lock:
            if self._keys is not None:
                self._keys.difference_update(keys)


class StrikeReader(Bell):
    """A reader of the strikes: the rules in force, the word that this was all, then the changes.

    Made, and told, under the store's lock.
    """

    def __init__(self, lock: threading.RLock, rules: Iterable[StrikeRule], place: int) -> None:
        super().__init__()
        self._lock = lock
        self._unread: deque[StrikeEvent] = deque(rules)
        self._unread.append(StrikesCaughtUp(place))

    def tell(self, rule: StrikeRule) -> None:
        self._unread.append(rule)
        self.ring()

    def __aiter__(self) -> AsyncIterator[StrikeEvent]:
        return self

    async def __anext__(self) -> StrikeEvent:
        while True:
            with self._lock:
                if self._unread:
                    return self._unread.popleft()
                self.event.clear()
            await self.event.wait()
