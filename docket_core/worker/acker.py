"""Sends verdicts: one flush is under way, the next batch gathers behind it; no timer, no latency when idle."""

import asyncio
from collections.abc import Callable

from docket_core.backend.clock import Clock, Micros
from docket_core.backend.kit import backoff, sleep
from docket_core.backend.model import Ack, Acked
from docket_core.backend.protocol import Backend
from docket_core.errors import BackendError
from docket_core.logs import get_logger
from docket_core.worker.run import Run

logger = get_logger("docket_core.worker")

BATCH = 100
"""The most verdicts in one call."""


class Acker:
    """Acks in batches until the store has answered, however long that takes.

    Args:
        backend: where to.
        clock: for pauses while the store is away.
        longest_pause: the longest of them, in microseconds.
        done: told of every run and its answer.
    """

    def __init__(
        self, backend: Backend, clock: Clock, longest_pause: Micros, done: Callable[[Run, Ack, Acked], None]
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._longest_pause = longest_pause
        self._done = done
        self._waiting: list[tuple[Run, Ack]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False
        self.unacked = 0
        """Verdicts that the store has not answered yet."""

    def put(self, run: Run, ack: Ack) -> None:
        """Take a verdict; returns at once. One that comes after the end counts for nothing: its lease runs out."""
        if self._closed:
            logger.error("%r has ended after its worker; it will be run again", run.claim.key)
            return
        self._waiting.append((run, ack))
        self.unacked += 1
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="docket acks")

    async def settled(self) -> None:
        """Return once every verdict has been answered."""
        while self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def close(self) -> None:
        """Give up on what has not been answered; its leases run out."""
        self._closed = True
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.wait([self._flusher])
        if self._waiting:
            logger.error("%d verdicts were not taken by the store; their tasks will be run again", len(self._waiting))

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:BATCH]
                replies = await self._send([ack for _, ack in batch])
                del self._waiting[: len(batch)]
                refused: list[tuple[Run, Ack]] = []
                for (run, ack), reply in zip(batch, replies, strict=True):
                    if reply is Acked.REFUSED and ack.reason != "refused":
                        refused.append((run, self._plain_failure(ack)))
                        continue
                    self.unacked -= 1
                    self._done(run, ack, reply)
                self._waiting[:0] = refused
        finally:
            self._flusher = None

    async def _send(self, acks: list[Ack]) -> list[Acked]:
        tries = 0
        while True:
            try:
                return list(await self._backend.ack(acks))
            except Exception as error:
                tries += 1
                if tries == 1:
                    unknown = None if isinstance(error, BackendError) else error
                    message = "the store does not take %d verdicts, will try again: %s"
                    logger.warning(message, len(acks), error, exc_info=unknown)
                await sleep(self._clock, backoff(tries, 50_000, self._longest_pause))

    @staticmethod
    def _plain_failure(ack: Ack) -> Ack:
        """In place of a verdict that is outside the store's bounds: the task must end."""
        logger.error("the store refused the verdict on %r; it is recorded as failed", ack.claim.key)
        return Ack.fail(ack.claim, f"the store refused its verdict ({ack.verdict.value})", reason="refused")
