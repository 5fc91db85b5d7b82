"""Live events and strikes, as they come over the docket's channels."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import SECOND
from docket_core.backend.kit import backoff
from docket_core.backend.news import Unread
from docket_core.backend.records import (
    CancelRequested,
    Event,
    Progress,
    ProgressMade,
    StateChanged,
    StrikeEvent,
    StrikeRule,
    StrikesCaughtUp,
    StrikesReset,
    Topic,
)
from docket_core.errors import BackendError
from docket_redis.client import Client
from docket_redis.hub import Hub
from docket_redis.records import STATES, optional_int

_TOPICS = {Topic.STATE: "es", Topic.PROGRESS: "eg", Topic.CANCEL: "ec"}
_LETTERS = {Topic.STATE: "s", Topic.PROGRESS: "g", Topic.CANCEL: "c"}
_SOME_KEYS = "ek"
"""Tells the scripts that somebody listens to single keys."""
STRIKES = "xs"


def event_of(data: bytes) -> Event:
    """The event that a message tells of."""
    letter, key, rest = data.decode(errors="replace").split("\x1f", 2)
    if letter == "c":
        generation, token = rest.split("\x1f")
        return CancelRequested(key, int(generation), int(token))
    if letter == "g":
        run, number, current, total, updated, message = rest.split("\x1f", 5)
        made = Progress(int(current), optional_int(total), message[1:] if message else None, int(updated))
        return ProgressMade(key, run, int(number), made)
    run, number, state, when, worker, started, completed, error = rest.split("\x1f", 7)
    return StateChanged(
        key,
        run,
        int(number),
        STATES[state],
        int(when),
        worker or None,
        optional_int(started),
        optional_int(completed),
        error or None,
    )


class Feed:
    """A subscription: what has happened and was not read yet, the newest of each kind, key and state."""

    def __init__(self, hub: Hub, topics: AbstractSet[Topic], keys: Sequence[str] | None, timeout: float) -> None:
        self._hub = hub
        self._timeout = timeout
        self._letters = {_LETTERS[topic] for topic in topics}
        self._all = keys is None
        self._channels = [_TOPICS[topic] for topic in topics] if keys is None else [_SOME_KEYS]
        self._channels += [f"e:{key}" for key in dict.fromkeys(keys or ())]
        self._unread = Unread()
        self._news = asyncio.Event()

    async def open(self) -> None:
        self._hub.add(self, self._channels)
        await self._hub.confirmed(self._channels, self._timeout)

    def close(self) -> None:
        self._hub.remove(self, self._channels)

    def heard(self, channel: str, data: bytes) -> None:
        if data[:1].decode(errors="replace") not in self._letters:
            return
        self._unread.put(event_of(data))
        self._news.set()

    def restored(self) -> None:
        """What was missed is not told: an event is a hint."""

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._unread:
            self._news.clear()
            await self._news.wait()
        return self._unread.pop()

    async def watch(self, keys: Sequence[str]) -> None:
        if self._all or not keys:
            return
        known = set(self._channels)
        fresh = [channel for key in dict.fromkeys(keys) if (channel := f"e:{key}") not in known]
        self._channels += fresh
        self._hub.add(self, fresh)
        await self._hub.confirmed(fresh, self._timeout)

    async def unwatch(self, keys: Sequence[str]) -> None:
        if self._all:
            return
        stale = {f"e:{key}" for key in keys}
        self._hub.remove(self, stale.intersection(self._channels))
        self._channels = [channel for channel in self._channels if channel not in stale]


class StrikeReader:
    """The rules in force, the word that this was all, then the changes; all over again after a lost connection."""

    def __init__(self, client: Client, hub: Hub) -> None:
        self._client = client
        self._hub = hub
        self._changes: deque[StrikeRule] = deque()
        self._news = asyncio.Event()
        self._broken = False

    def open(self) -> None:
        self._hub.add(self, [STRIKES])

    def close(self) -> None:
        self._hub.remove(self, [STRIKES])

    def heard(self, channel: str, data: bytes) -> None:
        number, rule_id, instruction = data[1:].split(b"\x1f", 2)
        self._changes.append(StrikeRule(rule_id.decode(), instruction if data[:1] == b"+" else None, int(number)))
        self._news.set()

    def restored(self) -> None:
        self._broken = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[StrikeEvent]:
        started = False
        while True:
            newest, rules = await self._history()
            if started:
                yield StrikesReset()
            started = True
            for rule in rules:
                yield rule
            yield StrikesCaughtUp(newest)
            while not self._broken:
                while self._changes:
                    change = self._changes.popleft()
                    if change.place > newest:
                        yield change
                self._news.clear()
                if not self._broken:
                    await self._news.wait()

    async def _history(self) -> tuple[int, list[StrikeRule]]:
        """The newest number given out, and the rules in force at that moment; waits for a server that is away."""
        attempt = 0
        while True:
            await self._hub.confirmed([STRIKES])
            self._broken = False
            try:
                reply = await self._client.run("strikes")
            except BackendError:
                attempt += 1
                await asyncio.sleep(backoff(attempt, SECOND // 20, SECOND) / SECOND)
                continue
            rules = zip(reply[1::3], reply[2::3], reply[3::3], strict=True)
            return int(reply[0]), [StrikeRule(rule.decode(), data, int(number)) for rule, data, number in rules]
