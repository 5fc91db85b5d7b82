"""Sharing round trips: what is asked for while a call is under way goes out together in the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Reply = TypeVar("Reply")


class Batcher(Generic[Item, Reply]):
    """Turns single requests into batches without a timer.

    The first request goes out at once. Those that come while a call is under way gather, and go out together
    when it has returned. So a lone request waits for nothing, and under load one call carries many.

    Args:
        send: makes one call for some items; its replies are positional.
        limit: the most items in one call.
        held: whether an item has to wait for now; `go_on` looks again, and items leave in the order they came.
        enough: so many that wait need not wait for the call under way: they are worth a second one beside it, so what
            is asked for at the same moment may arrive in any order. None: there is one call at a time.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Reply]]],
        limit: int = 500,
        held: Callable[[Item], bool] | None = None,
        enough: int | None = None,
    ) -> None:
        self._send = send
        self._limit = limit
        self._held = held
        self._waiting: list[tuple[Item, asyncio.Future[Reply]]] = []
        self._enough = enough
        self._calls = 0
        """How many are under way: those that carry one item, and those that flushers make."""
        self._flushers: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Reply:
        """The reply to `item`; raises what the call that carried it raised."""
        if self._calls or (self._held is not None and self._held(item)):
            reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self._waiting.append((item, reply))
            if self._is_enough():
                self.go_on()
            return await reply
        self._calls += 1
        try:
            return (await self._send([item]))[0]
        finally:
            self._calls -= 1
            if self._waiting:
                self.go_on()

    def go_on(self) -> None:
        """Send what waits, if it need not wait any longer: an item may be held no more."""
        if self._waiting and self._calls < (2 if self._is_enough() else 1):
            self._calls += 1
            flusher = asyncio.create_task(self._flush())
            self._flushers.add(flusher)
            flusher.add_done_callback(self._flushers.discard)

    def _is_enough(self) -> bool:
        return self._enough is not None and len(self._waiting) >= self._enough

    def _next(self) -> list[tuple[Item, asyncio.Future[Reply]]]:
        """Takes the next call's items out of those that wait."""
        if self._held is None:
            taken, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            return taken
        batch: list[tuple[Item, asyncio.Future[Reply]]] = []
        rest: list[tuple[Item, asyncio.Future[Reply]]] = []
        for entry in self._waiting:
            (rest if len(batch) == self._limit or self._held(entry[0]) else batch).append(entry)
        self._waiting = rest
        return batch

    async def _flush(self) -> None:
        try:
            while batch := self._next():
                try:
                    replies = await self._send([item for item, _ in batch])
                except BaseException as error:
                    for _, reply in batch:
                        if not reply.done():
                            reply.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                            reply.exception() if not isinstance(error, Exception) else None
                    if not isinstance(error, Exception):
                        raise
                else:
                    for (_, reply), answer in zip(batch, replies, strict=True):
                        if not reply.done():
                            reply.set_result(answer)
        finally:
            self._calls -= 1
