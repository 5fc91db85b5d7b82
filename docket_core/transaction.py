"""Tasks as part of a database transaction of the caller's own."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from docket_core.adding import Adder, send_alike
from docket_core.backend.model import Enqueued, OnConflict, Task
from docket_core.backend.protocol import Enqueuer

if TYPE_CHECKING:
    from docket_core.docket import Docket


class DocketTransaction(Adder):
    """Adds tasks that exist if, and once, the caller's transaction commits; made by `Docket.transaction`."""

    def __init__(self, docket: "Docket", connection: object) -> None:
        super().__init__(docket)
        self._joining: AbstractAsyncContextManager[Enqueuer] = docket.backend.join(connection)
        self._enqueuer: Enqueuer | None = None

    async def __aenter__(self) -> Self:
        self._enqueuer = await self._joining.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enqueuer = None
        await self._joining.__aexit__(kind, error, trace)

    async def _enqueue(self, task: Task, on_conflict: OnConflict) -> Enqueued:
        return (await self._enqueue_many([task], on_conflict))[0]

    async def _enqueue_many(self, tasks: Sequence[Task], on_conflict: OnConflict) -> Sequence[Enqueued]:
        if self._enqueuer is None:
            raise RuntimeError("the transaction is not open; use it inside `async with docket.transaction(…) as tx:`")
        return await send_alike(self._enqueuer, tasks, on_conflict)
