"""An application behind a real server, on every store that it may share with other processes."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from queue import Queue
from threading import Thread

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from tests.support.command import environment
from tests.support.urls import SHARED, Store
from tests.support.workers import PATIENCE, until

RUNNING_ON = "Uvicorn running on "


@pytest.fixture(params=SHARED, ids=repr)
def store(request: pytest.FixtureRequest) -> Store:
    """The kind of store."""
    chosen: Store = request.param
    return chosen


@pytest.fixture
def docket_url(store: Store, tmp_path: Path) -> str:
    """A store of the test's own."""
    return store.url(tmp_path)


@pytest.fixture
def database_url(docket_url: str) -> str | None:
    """SQLAlchemy's name of the same database; None if it is none."""
    scheme, _, rest = docket_url.partition("?")[0].partition("://")
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
    return f"{drivers[scheme]}://{rest}" if scheme in drivers else None


class Server:
    """The example behind uvicorn, as a process of its own."""

    def __init__(self, url: str, database_url: str | None, folder: Path) -> None:
        variables = {"DOCKET_URL": url, "PYTHONWARNINGS": "error"}
        if database_url is not None:
            variables["DATABASE_URL"] = database_url
        command = [sys.executable, "-m", "uvicorn", "docket_fastapi.example:app", "--host", "127.0.0.1", "--port", "0"]
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment(variables), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said: list[str] = []
        addresses: Queue[str] = Queue()
        self._reader = Thread(target=self._read, args=[addresses])
        self._reader.start()
        self.address = addresses.get(timeout=PATIENCE)
        assert self.address, "".join(self.said)

    def _read(self, addresses: "Queue[str]") -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if RUNNING_ON in line:
                addresses.put(line.partition(RUNNING_ON)[2].split()[0])
        addresses.put("")

    def end(self) -> int:
        """SIGTERM, and how it ended."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@pytest.fixture
def server(docket_url: str, database_url: str | None, tmp_path: Path) -> Generator[Server, None, None]:
    """It runs as long as the test, if that does not end it."""
    started = Server(docket_url, database_url, tmp_path)
    with started.process:
        yield started
        if started.process.poll() is None:
            started.end()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient, None]:
    """The application behind uvicorn in this process, and a client of it."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started or serving.done())
    assert not serving.done(), "it did not start"
    address = server.servers[0].sockets[0].getsockname()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{address[1]}", timeout=PATIENCE) as client:
            yield client
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE)
