"""The example of docket_fastapi behind a server of its own, over HTTP."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from docket_core import Docket
from docket_fastapi.example import report
from tests.contrib.conftest import Server
from tests.support.workers import PATIENCE

Events = list[tuple[str, dict[str, Any]]]


def events(lines: Iterable[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Each event's name and data."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.address, timeout=PATIENCE)


def test_a_job_is_posted_followed_and_read(client: httpx.Client) -> None:
    with client:
        posted = client.post("/reports", params={"pages": 3, "seconds": 0.05})
        assert posted.status_code == 202
        place = posted.headers["location"]
        with client.stream("GET", f"{place}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"] == "no-store"
            told: Events = list(events(stream.iter_lines()))
        assert told[-1] == ("end", {"state": "completed"})
        assert told[-2][0] == "state"
        assert told[-2][1]["state"] == "completed"
        assert told[-2][1]["key"] == posted.json()["key"]
        done = [data["current"] for name, data in told if name == "progress"]
        assert done == sorted(done)
        assert all(data["total"] in (None, 3) for name, data in told if name == "progress")
        assert client.get(place).json() == {"state": "completed", "result": "a report of 3 pages", "error": None}
        with client.stream("GET", f"{place}/events") as stream:  # one that has ended says so at once
            assert [name for name, _ in events(stream.iter_lines())] == ["state", "end"]


def test_an_unknown_job_is_not_found(client: httpx.Client) -> None:
    with client:
        for path in ("/jobs/unknown", "/jobs/unknown/events", "/jobs/%00", f"/jobs/{'x' * 600}"):
            answer = client.get(path)
            assert answer.status_code == 404, path
            assert "no such task" in answer.json()["detail"]


def test_it_is_live_and_ready(client: httpx.Client) -> None:
    with client:
        assert client.get("/live").json() == {"status": "live"}
        patient = time.monotonic() + PATIENCE
        while (answer := client.get("/ready")).status_code == 503 and time.monotonic() < patient:
            assert answer.json() == {"status": "not ready"}  # its worker has not come to its first claim yet
        assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


async def scalar(database_url: str, statement: str, name: str) -> object:
    """What the database answers to one statement."""
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        result = await connection.execute(text(statement), {"name": name})
        answer = result.scalar() if result.returns_rows else None
    await engine.dispose()
    return answer


def test_a_task_stands_and_falls_with_the_transaction(client: httpx.Client, database_url: str | None) -> None:
    name, taken = uuid.uuid4().hex, uuid.uuid4().hex
    with client:
        if database_url is None:
            assert client.post(f"/orders/{name}").status_code == 501
            return
        assert client.post(f"/orders/{name}").json() == {"key": f"confirm-{name}"}
        with client.stream("GET", f"/jobs/confirm-{name}/events") as stream:
            assert list(events(stream.iter_lines()))[-1] == ("end", {"state": "completed"})
        asyncio.run(scalar(database_url, "insert into orders values (:name)", taken))
        assert client.post(f"/orders/{taken}").status_code == 409
        assert client.get(f"/jobs/confirm-{taken}").status_code == 404
    assert asyncio.run(scalar(database_url, "select count(*) from orders where name = :name", name)) == 1


def test_sigterm_lets_what_runs_end(server: Server, client: httpx.Client, docket_url: str) -> None:
    async def outcome(key: str) -> object:
        async with Docket("shop", docket_url) as docket:
            docket.register(report)
            execution = await docket.get_execution(key)
            assert execution is not None
            return await execution.get_result(timeout=timedelta(0))

    with client:
        key = client.post("/reports", params={"pages": 4, "seconds": 0.7}).json()["key"]
        told: Events = []
        with client.stream("GET", f"/jobs/{key}/events") as stream:
            for event in events(stream.iter_lines()):
                told.append(event)
                if event[1].get("state") == "running":
                    break
        assert told[-1][1]["state"] == "running", told
    assert server.end() in (0, -15), server.said  # after its good end uvicorn dies of the signal, as it should
    assert not [line for line in server.said if "Traceback" in line], server.said
    assert asyncio.run(outcome(key)) == "a report of 4 pages"
