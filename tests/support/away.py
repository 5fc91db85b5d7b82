"""A store that a test can take away: it stops answering, or answers that it is away, operation by operation."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from docket_core import Docket
from docket_core.backend.protocol import Backend, Subscription
from docket_core.backend.records import StrikeEvent, Topic
from docket_core.errors import BackendUnavailable

EVERYTHING = frozenset({
    "enqueue", "schedule", "claim", "wait", "renew", "ack", "cancel", "clear", "heartbeat", "retire", "workers",
    "strike", "strikes", "acquire", "release", "progress", "get", "scan", "counts", "subscribe", "prune",
})  # fmt: skip


class Switches:
    """What the store does to each operation; shared by all who use it."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        """Operations that are not answered until `back` is called."""
        self.refusing: set[str] = set()
        """Operations that are answered with BackendUnavailable."""
        self.calls: list[str] = []

    def back(self) -> None:
        """The store answers again; what has waited is done."""
        self.silent.clear()
        self.refusing.clear()

    async def check(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.refusing:
            raise BackendUnavailable(f"{operation}: the store is away")
        while operation in self.silent:
            await asyncio.sleep(0.01)


class AwayBackend:
    """Passes every operation on, after a look at the switches."""

    def __init__(self, inner: Backend, switches: Switches) -> None:
        self._inner = inner
        self._switches = switches

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in EVERYTHING:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._switches.check(name)
            return await found(*args, **kwargs)

        return call

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[AsyncIterator[StrikeEvent], None]:
        await self._switches.check("strikes")
        async with self._inner.strikes() as events:
            yield events

    @asynccontextmanager
    async def subscribe(
        self, topics: AbstractSet[Topic], keys: Sequence[str] | None
    ) -> AsyncGenerator[Subscription, None]:
        await self._switches.check("subscribe")
        async with self._inner.subscribe(topics, keys) as subscription:
            yield subscription


class AwayDocket(Docket):
    """A docket whose store can be taken away."""

    def __init__(self, *args: Any, switches: Switches, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.switches = switches

    def open_backend(self) -> Backend:
        backend: Any = AwayBackend(super().open_backend(), self.switches)
        return backend  # type: ignore[no-any-return]
