"""Waiting for the ends of runs: one subscription and one poller per docket, however many wait."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from docket_core.backend.clock import SECOND, Micros, background
from docket_core.backend.kit import backoff, jittered, sleep
from docket_core.backend.protocol import Subscription
from docket_core.backend.records import Last, Record, StateChanged, Topic
from docket_core.backend.states import TERMINAL, State
from docket_core.batching import Batcher
from docket_core.codec import CodecContext, decode_exception, decode_result
from docket_core.errors import (
    BackendError,
    BackendUnavailable,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSuperseded,
    ResultExpired,
)
from docket_core.logs import get_logger
from docket_core.results import is_reference, storage_key

if TYPE_CHECKING:
    from docket_core.docket import Docket
    from docket_core.execution import Execution

logger = get_logger("docket_core.outcomes")

POLL_INTERVAL: Micros = SECOND
"""A lost event costs a waiter at most this much real time: it is lost there, whatever the docket's clock says."""
ANSWER_WITHIN: Micros = SECOND
"""How much longer than asked for a wait may take where the store does not answer."""
_POLL_PORTION = 500


class _Waiter:
    """Somebody who waits for the end of one run."""

    __slots__ = ("news", "run")

    def __init__(self, run: str) -> None:
        self.run = run
        self.news = asyncio.Event()

    def concerns(self, record: Record | None) -> bool:
        """Whether this record says more than that the run goes on."""
        return record is None or record.live is None or record.live.run != self.run


class Outcomes:
    """All who wait for results on one docket."""

    def __init__(self, docket: "Docket") -> None:
        self._docket = docket
        self._waiting: dict[str, set[_Waiter]] = {}
        self._subscription: Subscription | None = None
        self._worker: asyncio.Task[None] | None = None
        self._closed = False
        self._get = Batcher[str, Record | None](self._read)

    async def _read(self, keys: list[str]) -> Sequence[Record | None]:
        return await self._docket.backend.get(keys)

    async def close(self) -> None:
        """Stop listening; who still waits is told that the docket is not open any more."""
        self._closed = True
        self._wake_all()
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
            self._worker = None

    async def result(self, execution: "Execution", until: Micros | None) -> Any:
        """What the run returned; raises what it raised, and what `Execution.get_result` lists.

        Args:
            execution: whose run.
            until: when to give up, by the docket's clock.
        """
        async with asyncio.timeout(None) as limit:
            timer = None
            if until is not None:  # a store that does not answer must not outlast it for long
                latest = max(until, self._docket.clock.now()) + ANSWER_WITHIN
                timer = self._docket.clock.call_at(latest, partial(limit.reschedule, 0.0))
            try:
                last = await self._ended(execution.key, execution.run)
                if last is None:
                    last = await self._wait(execution, until)
            finally:
                if timer is not None:
                    timer.cancel()
        execution.update(Record(execution.key, None, last))
        if last.result is not None and is_reference(last.result):
            execution.result_key = storage_key(last.result)
            if self._docket.results is None:
                raise ResultExpired(f"the result of {execution.key!r} is kept in a result_storage that is not set here")
            last = last._replace(result=await self._docket.results.get(last.result))
        return self._outcome(execution, last)

    async def _wait(self, execution: "Execution", until: Micros | None) -> Last:
        waiter = _Waiter(execution.run)
        news = waiter.news
        self._waiting.setdefault(execution.key, set()).add(waiter)
        timer = None
        if until is not None:
            timer = self._docket.clock.call_at(until, news.set)
        try:
            await self._listen_for([execution.key])
            while True:
                news.clear()
                with suppress(BackendUnavailable):  # the next look will tell
                    last = await self._ended(execution.key, execution.run)
                    if last is not None:
                        return last
                if until is not None and self._docket.clock.now() >= until:
                    raise TimeoutError(f"{execution!r} has not ended yet")
                await news.wait()
        finally:
            if timer is not None:
                timer.cancel()
            waiting = self._waiting[execution.key]
            waiting.discard(waiter)
            if not waiting:
                del self._waiting[execution.key]
                await self._forget(execution.key)

    async def _ended(self, key: str, run: str) -> Last | None:
        """How the run ended; None while it is live."""
        if self._closed:
            raise RuntimeError(f"{self._docket!r} is not open any more; {key!r} cannot be waited for")
        record = await self._get(key)
        if record is not None:
            if record.live is not None and record.live.run == run:
                return None
            if record.last is not None and record.last.run == run:
                return record.last
            if record.live is not None or record.last is not None or record.hold is not None:
                raise ExecutionSuperseded(f"{key!r} has been taken by another run")
        raise ResultExpired(f"nothing is kept of {key!r}: it has ended, was never there, or is not committed yet")

    def _outcome(self, execution: "Execution", last: Last) -> Any:
        context = CodecContext(self._docket.name, execution.key, last.function)
        if last.state is State.COMPLETED:
            return decode_result(self._docket.codec, context, last.result)
        if last.state is State.CANCELLED:
            raise ExecutionCancelled(f"{execution.key!r} was cancelled: {last.reason or 'no reason given'}")
        error = decode_exception(self._docket.codec, context, last.result)
        if error is not None:
            raise error
        raise ExecutionFailed(last.error or last.reason or f"{execution.key!r} failed")

    async def _listen_for(self, keys: list[str]) -> None:
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._listen(), name="docket outcomes")
        elif self._subscription is not None:
            with suppress(BackendError):
                await self._subscription.watch(keys)

    async def _forget(self, key: str) -> None:
        if self._subscription is not None:
            with suppress(BackendError):
                await self._subscription.unwatch([key])

    async def _listen(self) -> None:
        """Wake those whose key had news; ask about all of them once in a while."""
        background.set(True)
        poller = asyncio.create_task(self._poll(), name="docket outcomes poller")
        try:
            failures = 0
            while True:
                try:
                    async with self._docket.backend.subscribe({Topic.STATE}, list(self._waiting)) as subscription:
                        self._subscription = subscription
                        await subscription.watch(list(self._waiting))
                        self._wake_all()
                        failures = 0
                        async for event in subscription:
                            if isinstance(event, StateChanged):
                                self._tell(event)
                except BackendError as error:
                    failures += 1
                    logger.warning("cannot listen for results, asking for them instead: %s", error)
                finally:
                    self._subscription = None
                await sleep(self._docket.clock, backoff(failures + 1, SECOND // 20, 2 * SECOND))
        finally:
            poller.cancel()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(jittered(POLL_INTERVAL) / SECOND)
            keys = list(self._waiting)
            for start in range(0, len(keys), _POLL_PORTION):
                portion = keys[start : start + _POLL_PORTION]
                with suppress(BackendError):
                    records = await self._docket.backend.get(portion)
                    for key, record in zip(portion, records, strict=True):
                        for waiter in self._waiting.get(key, ()):
                            if waiter.concerns(record):
                                waiter.news.set()

    def _tell(self, event: StateChanged) -> None:
        for waiter in self._waiting.get(event.key, ()):
            if event.state in TERMINAL or event.run != waiter.run:
                waiter.news.set()

    def _wake_all(self) -> None:
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.news.set()
