"""Processes are really killed here, so every test runs on the stores that several processes can open."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from docket_core import Docket
from tests.support.fleet import Trace, open_docket
from tests.support.nursery import Nursery, nursery
from tests.support.urls import SHARED, Store


@pytest.fixture(params=SHARED, ids=repr)
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own that several processes can open."""
    chosen: Store = request.param
    return chosen.url(tmp_path)


@pytest.fixture
async def docket(shared_url: str) -> AsyncGenerator[Docket, None]:
    """The docket on which the tests' tasks stand."""
    async with open_docket(shared_url) as opened:
        yield opened


@pytest.fixture
def children(tmp_path: Path) -> Generator[Nursery, None, None]:
    """Where processes come from."""
    with nursery(tmp_path) as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where tasks leave their traces."""
    return tmp_path / "trace"


@pytest.fixture
def traced(path: Path) -> Trace:
    """What the tasks did."""
    return Trace(path)
