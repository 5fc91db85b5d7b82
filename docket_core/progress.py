"""How far a running task has come: told by the task, read by anyone, gone at its end."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING

from docket_core.backend.clock import from_micros
from docket_core.backend.model import ProgressReply, ProgressUpdate
from docket_core.backend.records import Progress

if TYPE_CHECKING:
    import asyncio

    from docket_core.execution import Execution
    from docket_core.subscriptions import ProgressEvent


class ExecutionProgress:
    """The progress of one run. Only the run itself can change it, and only while it holds its task."""

    __slots__ = ("_execution", "current", "message", "total", "updated_at")

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self.current = 0
        """How much has been done."""
        self.total: int | None = None
        """How much there is to do, once it is known."""
        self.message: str | None = None
        self.updated_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<ExecutionProgress {self.current}/{self.total or '?'} {self.message or ''}>"

    async def set_total(self, total: int) -> None:
        """Say how much there is to do.

        Raises:
            ValueError: `total` is less than 1.
            RuntimeError: this is not the handle of a running task.
        """
        if total < 1:
            raise ValueError(f"the total of a progress is at least 1, not {total}")
        if await self._send(total=total):
            self.total = total

    async def increment(self, amount: int = 1) -> None:
        """Add to what has been done; amounts of concurrent calls add up.

        Raises:
            ValueError: `amount` is less than 1.
            RuntimeError: this is not the handle of a running task.
        """
        if amount < 1:
            raise ValueError(f"a progress is incremented by at least 1, not {amount}")
        if await self._send(increment=amount):
            self.current += amount

    async def set_message(self, message: str | None) -> None:
        """Say what is being done; None takes the message away.

        Raises:
            RuntimeError: this is not the handle of a running task.
        """
        if await self._send(message=message, clear_message=message is None):
            self.message = message

    async def sync(self) -> None:
        """Read the present progress from the store."""
        execution = self._execution
        record = (await execution.docket.backend.get([execution.key]))[0]
        live = record.live if record is not None and record.live is not None else None
        self.take(live.progress if live is not None and live.run == execution.run else None)

    async def subscribe(self, *, ready: "asyncio.Event | None" = None) -> "AsyncGenerator[ProgressEvent, None]":
        """The present progress, then every change, to the end of the run.

        Args:
            ready: set once the subscription is live.
        """
        async for event in self._execution.subscribe(ready=ready):
            if event["type"] == "progress":
                yield event

    def take(self, progress: Progress | None) -> None:
        """Take over what the store says."""
        progress = progress or Progress()
        self.current = progress.current
        self.total = progress.total
        self.message = progress.message
        self.updated_at = from_micros(progress.updated_at) if progress.updated_at is not None else None

    async def _send(
        self,
        *,
        increment: int = 0,
        total: int | None = None,
        message: str | None = None,
        clear_message: bool = False,
    ) -> bool:
        """Whether the store took it: one whose task was lost or replaced has nothing to tell any more."""
        grant = self._execution.grant
        if grant is None:
            raise RuntimeError("only the running task itself can change its progress")
        update = ProgressUpdate(grant.claim, increment, total, message, clear_message)
        return await self._execution.docket.send_progress(update) is ProgressReply.RECORDED
