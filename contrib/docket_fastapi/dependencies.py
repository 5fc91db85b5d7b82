"""What request handlers ask for."""

from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException
from fastapi.requests import HTTPConnection

from docket_core import Docket, DocketTransaction, Execution
from docket_core.errors import InvalidInput
from docket_fastapi.lifespan import app_docket


def get_docket(connection: HTTPConnection) -> Docket:
    """The application's docket, in requests and WebSockets."""
    return app_docket(connection).docket


DocketDep = Annotated[Docket, Depends(get_docket)]
"""The application's docket: `async def order(docket: DocketDep) -> …`"""


async def get_execution(key: str, docket: DocketDep) -> Execution:
    """The task whose key is the path parameter `key`; 404 where nothing is kept under it."""
    try:
        execution = await docket.get_execution(key)
    except InvalidInput:
        execution = None
    if execution is None:
        raise HTTPException(404, "no such task, or it ended too long ago")
    return execution


ExecutionDep = Annotated[Execution, Depends(get_execution)]
"""A task by the path parameter `key`: `@app.get("/jobs/{key}") async def job(execution: ExecutionDep) -> …`"""


def docket_transaction(session: Callable[..., Any]) -> Callable[..., AsyncGenerator[DocketTransaction, None]]:
    """A dependency that puts tasks into the request's own SQLAlchemy transaction.

    `Transaction = Annotated[DocketTransaction, Depends(docket_transaction(get_session))]`

    Tasks exist if, and once, the session commits; an exception, a rollback, or no commit leaves no trace of them.
    Commit in the handler: what a dependency does after its `yield` may happen when the answer is sent already.

    Args:
        session: the dependency that gives the request's `AsyncSession`, on the database that the docket is kept in;
            FastAPI gives the handler that asks for it the same one.
    """

    async def joined(
        docket: DocketDep,
        session: Any = Depends(session),  # noqa: B008 - FastAPI's way to declare it
    ) -> AsyncGenerator[DocketTransaction, None]:
        async with docket.transaction(session) as transaction:
            yield transaction

    return joined
