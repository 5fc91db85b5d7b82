"""Waiting for work: bells that the scripts ring where something can be claimed earlier than was known."""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress

from docket_core.backend.clock import SECOND, SYSTEM_CLOCK, Clock, Handle, Micros
from docket_core.backend.kit import MAX_WAIT, wait_for_event
from docket_core.backend.model import Take
from docket_core.errors import BackendUnavailable
from docket_redis.handover import Handovers, Mark
from docket_redis.hub import Hub

ANY = "wa"
"""The bell of those who want any function."""


class StoreClock:
    """The host's clock, corrected by how far the server's is off, as its answers show."""

    def __init__(self) -> None:
        self._offset: Micros = 0
        self._doubt: Micros | None = None

    def now(self) -> Micros:
        return SYSTEM_CLOCK.now() + self._offset

    def call_at(self, when: Micros, callback: Callable[[], None]) -> Handle:
        loop = asyncio.get_running_loop()
        return loop.call_later(max(0.0, (when - self.now()) / SECOND), callback)

    def learn(self, sent: Micros, store: Micros, received: Micros) -> None:
        """The server's time was `store` between two moments of the host's; the closest pair counts longest."""
        doubt = received - sent
        if self._doubt is None or doubt <= self._doubt:
            self._doubt, self._offset = doubt, store - (sent + received) // 2
        else:
            self._doubt += self._doubt // 64 + 1  # what was learned ages


class _Waiter:
    __slots__ = ("event", "functions", "until")

    def __init__(self, functions: AbstractSet[str] | None, until: Micros | None) -> None:
        self.event = asyncio.Event()
        self.functions = functions
        self.until = until


class Bells:
    """Hears the bells of the functions that were ever waited for, and wakes whom they concern."""

    def __init__(self, hub: Hub, clock: Clock, handovers: Handovers) -> None:
        self._hub = hub
        self._clock = clock
        self._handovers = handovers
        self._heard: set[str] = set()
        self._count = 0
        self._rung: dict[str, int] = {}
        """For each bell the count at which it rang last."""
        self._missed = 0
        self._waiters: set[_Waiter] = set()

    def count(self) -> int:
        """What a wait's mark counts from: taken before a claim is sent."""
        return self._count

    async def wait(
        self, functions: AbstractSet[str] | None, mark: Mark, until: Micros | None, take: Take | None
    ) -> None:
        """Sleep until one of the bells has rung since the mark, something was handed over, until `until`, or for two
        seconds."""
        channels = [ANY] if functions is None else [f"w:{function}" for function in functions]
        fresh = [channel for channel in channels if channel not in self._heard]
        if fresh:
            self._heard.update(fresh)
            self._hub.add(self, fresh)
            self._hub.add(self._handovers, [self._handovers.channel])
            with suppress(BackendUnavailable):
                await self._hub.confirmed(fresh, MAX_WAIT / SECOND)
            return  # what was pushed before the bells were heard is not known: claim again
        count = mark.bells
        if self._missed > count or any(self._rung.get(channel, 0) > count for channel in channels):
            return
        waiter = _Waiter(functions, until)
        self._waiters.add(waiter)
        ask = self._handovers.ask(mark, functions, until, waiter.event, take)
        cancelled = True
        try:
            if ask is not None:
                with suppress(BackendUnavailable):
                    await self._handovers.send(ask, mark.lease, functions)
            await wait_for_event(waiter.event, self._clock, until)
            cancelled = False
        finally:
            self._waiters.discard(waiter)
            if ask is not None:
                self._handovers.leave(ask, cancelled=cancelled)

    def heard(self, channel: str, data: bytes) -> None:
        self._count += 1
        self._rung[channel] = self._count
        moment, _, function = data.decode(errors="replace").partition("\x1f")
        at = int(moment)
        for waiter in self._waiters:
            wanted = channel == ANY if waiter.functions is None else channel != ANY and function in waiter.functions
            if wanted and (waiter.until is None or at < waiter.until):
                waiter.event.set()

    def restored(self) -> None:
        self._count += 1
        self._missed = self._count
        for waiter in self._waiters:
            waiter.event.set()
