"""Says in the store that somebody listens to events; where nobody does, nobody is told."""

import asyncio
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import SECOND
from docket_core.backend.records import Topic
from docket_core.errors import BackendError
from docket_postgres.store import Store

_EVERY = 10.0
_SOON = 1.0
"""Seconds until it is said again where the store could not be reached."""
_TTL = 30 * SECOND
_BITS = {Topic.STATE: 1, Topic.PROGRESS: 2}


class Watchers:
    """One row for all subscriptions of a backend, renewed while there are any."""

    def __init__(self, store: Store, identity: str) -> None:
        self._store = store
        self._identity = identity
        self._counts = dict.fromkeys(_BITS, 0)
        self._said = 0
        """What the store has been told; 0 where that is not sure."""
        self._task: asyncio.Task[None] | None = None

    async def add(self, topics: AbstractSet[Topic]) -> None:
        """Somebody more listens to these."""
        for topic in topics & _BITS.keys():
            self._counts[topic] += 1
        if self._wanted() & ~self._said:
            await self._say()
        if self._wanted() and self._task is None:
            self._task = asyncio.create_task(self._repeat(), name="docket postgres watchers")

    async def remove(self, topics: AbstractSet[Topic]) -> None:
        """Somebody less."""
        for topic in topics & _BITS.keys():
            self._counts[topic] -= 1
        if not self._wanted():
            await self.close()

    async def close(self) -> None:
        """Nobody listens any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            self._counts = dict.fromkeys(_BITS, 0)
            await self._say()

    def _wanted(self) -> int:
        return sum(bit for topic, bit in _BITS.items() if self._counts[topic])

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(_EVERY if self._said else _SOON)
            await self._say()

    async def _say(self) -> None:
        """Write what is wanted; if the store is away, events are late, and the next time comes soon."""
        wanted = self._wanted()
        try:
            if wanted:
                await self._store.fetch_control(
                    self._store.sql(
                        "insert into docket.watcher as w (docket, id, topics, until)"
                        " values ($1, $2, $3, docket.now_1(null) + $4) on conflict (docket, id)"
                        " do update set topics = excluded.topics, until = excluded.until"
                    ),
                    *(self._store.docket, self._identity, wanted, _TTL),
                )
            else:
                await self._store.fetch_control(
                    self._store.sql("delete from docket.watcher where docket = $1 and id = $2"),
                    *(self._store.docket, self._identity),
                )
            self._said = wanted
        except BackendError:
            self._said = 0
