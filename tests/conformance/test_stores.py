"""The conformance suite, as an author of a backend would run it, over every store."""

from typing import cast

import pytest

from docket_core.conformance.subject import Disrupt
from docket_core.conformance.suite import *  # noqa: F403
from tests.support.servers import postgres, redis, redis_many
from tests.support.stores import STORES, Store


@pytest.fixture(scope="session", params=STORES, ids=lambda store: store.name)
def backend_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Each store in turn; every test has a docket of its own in it."""
    store = cast("Store", request.param)
    return store.url(tmp_path_factory.mktemp(store.name))


@pytest.fixture
def disrupt(backend_url: str) -> Disrupt | None:
    """Where a server can close its connections, it does."""
    match backend_url.partition("://")[0]:
        case "postgresql":
            return postgres.closing_connections(backend_url)
        case "redis":
            return redis.closing_connections(backend_url)
        case "redis+cluster":
            return redis_many.closing_all_connections(redis_many.shared_cluster().servers)
        case "redis+sentinel":
            return redis_many.closing_all_connections([redis_many.shared_watched().master])
        case _:
            return None
