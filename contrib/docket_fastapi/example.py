"""An application in one screen: `DOCKET_URL=sqlite:///shop.db uvicorn docket_fastapi.example:app`.

With DATABASE_URL, SQLAlchemy's name of the same database (`sqlite+aiosqlite:///shop.db`, `postgresql+asyncpg://…`),
orders are written in one transaction with the tasks that they cause.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from docket_core import Cron, Docket, DocketTransaction, ExecutionProgress, Progress, RateLimit
from docket_fastapi import DocketDep, EventStream, ExecutionDep, docket_lifespan, docket_transaction, health_router

DATABASE_URL = os.environ.get("DATABASE_URL")
engine = create_async_engine(DATABASE_URL) if DATABASE_URL else None


async def report(pages: int, seconds: float = 0.2, progress: ExecutionProgress = Progress()) -> str:
    await progress.set_total(pages)
    for page in range(1, pages + 1):
        await asyncio.sleep(seconds)
        await progress.increment()
        await progress.set_message(f"page {page}")
    return f"a report of {pages} pages"


async def confirm(order: str, limit: RateLimit = RateLimit(100, per=timedelta(minutes=1))) -> str:
    return f"{order} is confirmed"


async def tidy(cron: Cron = Cron("*/5 * * * *")) -> None:
    print("tidied up")


@asynccontextmanager
async def database(_: FastAPI) -> AsyncGenerator[None, None]:
    if engine is not None:
        async with engine.begin() as connection:
            await connection.execute(text("create table if not exists orders (name varchar(100) primary key)"))
    yield
    if engine is not None:
        await engine.dispose()


async def get_session() -> AsyncGenerator[AsyncSession, None]:
    if engine is None:
        raise HTTPException(501, "set DATABASE_URL to the docket's own database")
    async with AsyncSession(engine) as session:
        yield session


app = FastAPI(
    lifespan=docket_lifespan(lambda: Docket("shop"), worker=True, tasks=[report, confirm, tidy], lifespan=database)
)
app.include_router(health_router())


@app.post("/reports", status_code=202)
async def order_report(pages: int, docket: DocketDep, response: Response, seconds: float = 0.2) -> dict[str, str]:
    execution = await docket.add(report)(pages, seconds)
    response.headers["Location"] = f"/jobs/{execution.key}"
    return {"key": execution.key}


@app.get("/jobs/{key}")
async def job(execution: ExecutionDep) -> dict[str, Any]:
    completed = execution.state.value == "completed"
    result = await execution.get_result() if completed else None
    return {"state": execution.state, "result": result, "error": execution.error}


@app.get("/jobs/{key}/events")
async def events(execution: ExecutionDep) -> EventStream:
    return EventStream(execution)


@app.post("/orders/{name}", status_code=201)
async def order(
    name: str,
    session: Annotated[AsyncSession, Depends(get_session)],
    transaction: Annotated[DocketTransaction, Depends(docket_transaction(get_session))],
) -> dict[str, str]:
    execution = await transaction.add(confirm, key=f"confirm-{name}")(name)
    known = await session.scalar(text("select count(*) from orders where name = :name"), {"name": name})
    if known:
        raise HTTPException(409, "ordered already; the task is not there either")
    await session.execute(text("insert into orders values (:name)"), {"name": name})
    await session.commit()
    return {"key": execution.key}
