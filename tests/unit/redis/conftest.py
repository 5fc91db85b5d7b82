"""What the tests of the Redis backend stand on."""

from collections.abc import Iterator
from typing import cast

import pytest

from tests.support.servers.redis import RedisServer, binaries
from tests.unit.redis.played import Docket


@pytest.fixture(scope="module", params=sorted(binaries()), ids=lambda release: f"redis-{release}")
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each version that is here, for the tests of one module."""
    with RedisServer(binaries()[cast("str", request.param)]) as started:
        yield started


@pytest.fixture(scope="module")
def oldest() -> Iterator[RedisServer]:
    """A server of the oldest version only, for what takes long and depends on no version."""
    with RedisServer() as started:
        yield started


@pytest.fixture
def docket() -> Docket:
    """An empty one on a Redis that is played in this process."""
    return Docket()
