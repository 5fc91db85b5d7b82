"""docket_fastapi behind a server in this process, where its insides can be watched."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI, Request

from docket_core import Docket, Worker
from docket_core.worker.entry import WorkerOptions
from docket_fastapi import (
    DocketDep,
    EventStream,
    ExecutionDep,
    docket_lifespan,
    get_docket,
    health_router,
)
from tests.contrib.conftest import served
from tests.support.away import AwayDocket, Switches
from tests.support.workers import Signal, until, within

HOUR = timedelta(hours=1)


async def greet(name: str) -> str:
    return f"Hello, {name}!"


async def test_it_composes_with_the_application_s_own_lifespan(docket_url: str) -> None:
    order: list[str] = []
    begun, go_on = Signal(), Signal()

    async def hold() -> None:
        begun.give()
        await go_on.seen()
        order.append("the task has ended")

    docket = Docket("app", docket_url)

    @asynccontextmanager
    async def own(_: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        await docket.add(hold)()  # it is open already
        order.append("own began")
        yield {"mine": "kept"}
        order.append("own ends")
        await docket.snapshot()  # it is open still

    app = FastAPI(lifespan=docket_lifespan(docket, worker=WorkerOptions(concurrency=2), lifespan=own))

    @app.get("/")
    async def look(request: Request, found: DocketDep) -> dict[str, Any]:
        return {"mine": request.state.mine, "same": found is docket}

    async with served(app) as client:
        assert (await client.get("/")).json() == {"mine": "kept", "same": True}
        await begun.seen()
        asyncio.get_running_loop().call_later(0.05, go_on.give)
    assert order == ["own began", "the task has ended", "own ends"]
    assert not docket.is_open
    del look


async def test_functions_and_collections_are_registered_on_a_docket_made_at_the_start(docket_url: str) -> None:
    made: list[Docket] = []

    def make() -> Docket:
        made.append(Docket("app", docket_url))
        return made[-1]

    app = FastAPI(lifespan=docket_lifespan(make, tasks=[greet, "docket_core.tasks:standard_tasks"]))
    for _ in range(2):
        async with served(app):
            assert made[-1].tasks["greet"] is greet
    assert len(made) == 2


async def test_without_a_worker_readiness_is_the_store_s(docket_url: str) -> None:
    docket = Docket("app", docket_url)
    app = FastAPI(lifespan=docket_lifespan(docket))
    app.include_router(health_router("/health"))
    async with served(app) as client:
        assert (await client.get("/health/ready")).status_code == 200
        execution = await docket.add(greet, when=HOUR)("Ann")
        assert execution.state.value == "scheduled"


class Broken(Worker):
    async def run_forever(self) -> None:
        raise LookupError("a bug in a worker")


async def test_a_worker_that_dies_is_logged_and_makes_readiness_fail(
    docket_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("docket_fastapi.lifespan.Worker", Broken)
    app = FastAPI(lifespan=docket_lifespan(Docket("app", docket_url), worker=True))
    app.include_router(health_router())
    with caplog.at_level(logging.ERROR, "docket_fastapi"):
        async with served(app) as client:
            answer = await client.get("/ready")
            assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
            assert (await client.get("/live")).status_code == 200
    assert "has died" in caplog.text
    assert "a bug in a worker" in caplog.text


async def test_a_silent_stream_is_kept_alive_and_cleaned_up_when_the_client_leaves(docket_url: str) -> None:
    docket = Docket("app", docket_url)
    app = FastAPI(lifespan=docket_lifespan(docket, tasks=[greet]))
    streams: list[EventStream] = []

    @app.get("/jobs/{key}/events")
    async def events(execution: ExecutionDep) -> EventStream:
        streams.append(EventStream(execution, keep_alive=timedelta(milliseconds=20)))
        return streams[-1]

    async with served(app) as client:
        await docket.add(greet, when=HOUR, key="k")("Ann")
        before = len(asyncio.all_tasks())
        async with client.stream("GET", "/jobs/k/events") as stream:
            lines = aiter(stream.aiter_lines())
            for awaited in ("event: state", ": still there", ": still there"):  # on a busy machine one comes earlier
                while await within(anext(lines)) != awaited:
                    pass
            assert len(asyncio.all_tasks()) > before
        await until(lambda: streams[0].has_ended)
        async with client.stream("GET", "/jobs/k/events") as stream:  # replaced: it ends, and says that it has no end
            lines = aiter(stream.aiter_lines())
            await within(anext(lines))
            await docket.replace(greet, HOUR, "k")("Bob")
            rest = [line async for line in lines if line and not line.startswith(":")]
            assert rest[-2:] == ["event: end", 'data: {"state": null}']
    del events


async def test_a_store_that_goes_away_stops_a_stream_without_an_end(docket_url: str) -> None:
    """So a browser connects again; one that is away at the beginning is no different."""
    switches = Switches()
    docket = AwayDocket("app", docket_url, switches=switches)
    app = FastAPI(lifespan=docket_lifespan(docket, tasks=[greet]))

    @app.get("/jobs/{key}/events")
    async def events(execution: ExecutionDep) -> EventStream:
        switches.refusing.add("subscribe")
        return EventStream(execution)

    async with served(app) as client:
        await docket.add(greet, when=HOUR, key="k")("Ann")
        answer = await client.get("/jobs/k/events")
        assert (answer.status_code, answer.text) == (200, ": the store is away\n\n")
        switches.back()
    del events


async def test_an_application_without_a_docket_is_told_so() -> None:
    app = FastAPI()

    @app.get("/")
    async def look(docket: DocketDep) -> str:
        return docket.name

    request = Request({"type": "http", "app": app, "state": {}})
    with pytest.raises(RuntimeError, match="docket_lifespan"):
        get_docket(request)
    del look
