"""The strikes as a reader sees them: the rules in force, then every change, whatever the connection does."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from docket_core.backend.records import StrikeEvent, StrikeRule, StrikesCaughtUp, StrikesReset
from docket_core.errors import BackendError

Rows = Sequence[Sequence[Any]]

_POLL_LISTENING = 10.0
_POLL_ALONE = 1.0
_KEPT = 45.0
"""Superseded rows stay for a minute: a reader who was away for longer may have missed one, and starts again."""


class StrikeReader:
    """Reads what came after the last number it has seen; a notification says when."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Rows]],
        read_after: Callable[[int], Awaitable[Rows]],
        is_listening: Callable[[], bool],
    ) -> None:
        self._read = read
        self._read_after = read_after
        self._is_listening = is_listening
        self._ring = asyncio.Event()
        self._is_broken = False
        self._history: Rows | None = None
        self._started = False

    async def start(self) -> None:
        """Read the history, if the store is there: what is in force now is told first, and a later gap is one."""
        try:
            self._history = await self._read()
        except BackendError:
            self._history = None
        self._started = True

    def heard(self, payload: str | None) -> None:
        """There may be something new; None says that the connection was lost."""
        self._is_broken = self._is_broken or (payload is None and self._started)
        self._ring.set()

    async def __aiter__(self) -> AsyncIterator[StrikeEvent]:
        last, asked, failures = -1, time.monotonic(), 0
        while True:
            self._ring.clear()
            if self._is_broken:
                self._is_broken = False
                if last >= 0:
                    last = -1
                    yield StrikesReset()
            try:
                rows, self._history = self._history, None
                if rows is None:
                    rows = await (self._read() if last < 0 else self._read_after(last))
            except BackendError:
                if last >= 0:
                    last = -1
                    yield StrikesReset()
                failures += 1
                await asyncio.sleep(min(2.0, 0.05 * 2**failures) * (0.5 + random.random() / 2))
                continue
            if last >= 0 and time.monotonic() - asked > _KEPT:
                last = -1
                yield StrikesReset()
                continue
            failures, asked = 0, time.monotonic()
            if last < 0:
                for seq, rule, instruction, newest, _ in rows:
                    if newest and instruction is not None:
                        yield StrikeRule(rule, instruction, seq)
                last = rows[-1][-1]
                yield StrikesCaughtUp(last)
            else:
                for seq, rule, instruction in rows:
                    last = seq
                    yield StrikeRule(rule, instruction, seq)
            await self._news()

    async def _news(self) -> None:
        """Return when there may be something new; without notifications, after a while."""
        pause = _POLL_LISTENING if self._is_listening() else _POLL_ALONE
        try:
            async with asyncio.timeout(pause * (0.8 + 0.2 * random.random())):
                await self._ring.wait()
        except TimeoutError:
            return
