"""Dockets whose time moves by itself, or whose round trips are counted."""

from collections.abc import AsyncGenerator

import pytest

from docket_core import Docket
from docket_core.testing import AutoClock
from tests.support.counting import CountingClock
from tests.support.moments import SETTLE
from tests.support.urls import Store


@pytest.fixture
async def auto(store: Store) -> AsyncGenerator[AutoClock, None]:
    """A clock that jumps to the next thing to do."""
    async with AutoClock(settle=SETTLE.get(store.name, 0.0)) as clock:
        yield clock


@pytest.fixture
async def moving(docket_url: str, auto: AutoClock) -> AsyncGenerator[Docket, None]:
    """An open docket whose time is `auto`."""
    async with Docket("moving", docket_url, clock=auto) as opened:
        yield opened


@pytest.fixture
def counting() -> CountingClock:
    """Knows how often each operation of the store was called."""
    return CountingClock()


@pytest.fixture
async def counted(docket_url: str, counting: CountingClock) -> AsyncGenerator[Docket, None]:
    """An open docket whose round trips `counting` counts."""
    async with Docket("counted", docket_url, clock=counting) as opened:
        yield opened
