"""Every test of this folder runs on every store."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from docket_core import Docket
from docket_core.backend.clock import ManualClock
from tests.support.urls import STORES, Store


@pytest.fixture(params=STORES, ids=repr)
def store(request: pytest.FixtureRequest) -> Store:
    """The kind of store."""
    chosen: Store = request.param
    return chosen


@pytest.fixture(autouse=True)
def traced(request: pytest.FixtureRequest) -> None:
    """The framework's lines are seen on memory, those of the other backends by conformance."""
    if "store" in request.fixturenames and request.getfixturevalue("store").name != "memory":
        request.getfixturevalue("untraced")


@pytest.fixture
def docket_url(store: Store, tmp_path: Path) -> str:
    """A store of the test's own."""
    return store.url(tmp_path)


@pytest.fixture
async def docket(docket_url: str) -> AsyncGenerator[Docket, None]:
    """An open docket."""
    async with Docket("orders", docket_url) as opened:
        yield opened


@pytest.fixture
async def other(docket_url: str, docket: Docket) -> AsyncGenerator[Docket, None]:
    """The same docket as another program sees it."""
    async with Docket(docket.name, docket_url) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
async def timed(docket_url: str, clock: ManualClock) -> AsyncGenerator[Docket, None]:
    """An open docket whose time is `clock`."""
    async with Docket("timed", docket_url, clock=clock) as opened:
        yield opened
