"""A task's state and progress as server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import datetime, timedelta

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from docket_core import Execution
from docket_core.backend.states import TERMINAL
from docket_core.errors import BackendError
from docket_core.subscriptions import ProgressEvent, StateEvent

KEEP_ALIVE = timedelta(seconds=15)
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""No cache and no proxy on the way is to hold events back."""


class EventStream(StreamingResponse):
    """Streams what becomes of a task: `return EventStream(execution)`.

    Events are `state` and `progress`, with the fields of `Execution.subscribe` as JSON, first those that hold now. The
    last one is `end`, `{"state": …}`: the task has ended so, or, with null, its run was replaced or is forgotten; a
    browser's EventSource is to be closed then. Where the store goes away, the stream stops without `end`, and an
    EventSource connects again. A client that leaves ends the subscription.

    Args:
        execution: whose run to follow.
        keep_alive: after so long without news a comment is sent, so that nobody on the way takes the silence for the
            end, and a client that has left is noticed.
    """

    media_type = "text/event-stream"

    def __init__(self, execution: Execution, *, keep_alive: timedelta = KEEP_ALIVE) -> None:
        self.has_ended = False
        """Whether nothing of it goes on any more."""
        self._events = _stream(execution, keep_alive.total_seconds())
        super().__init__(self._events, headers=HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()
            self.has_ended = True


async def _stream(execution: Execution, keep_alive: float) -> AsyncGenerator[str, None]:
    events = execution.subscribe()
    end: str | None = None
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait([coming], timeout=keep_alive)
            if not coming.done():
                yield ": still there\n\n"
                continue
            event = coming.result()
            if event is None:
                break
            if event["type"] == "state" and event["state"] in TERMINAL:
                end = event["state"].value
            yield _message(event["type"], event)
            coming = asyncio.ensure_future(anext(events, None))
        yield _message("end", {"state": end})
    except BackendError:
        yield ": the store is away\n\n"
    finally:
        coming.cancel()
        with suppress(asyncio.CancelledError, BackendError):
            await coming
        await events.aclose()


def _message(name: str, data: StateEvent | ProgressEvent | dict[str, str | None]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, default=_as_text)}\n\n"


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
