"""The conformance suite, as an author of a backend would run it, over every store."""

from typing import cast

import pytest

from docket_core.conformance.plugin import opener
from docket_core.conformance.subject import Disrupt, OpenBackend
from docket_core.conformance.suite import *  # noqa: F403
from tests.support.servers import postgres, redis, redis_many
from tests.support.stores import STORES, Store

SEEN = {"memory", "sqlite", "postgres-16", "redis-cluster"}
"""The stores on which coverage looks: one of each backend."""


@pytest.fixture(scope="session", params=STORES, ids=lambda store: store.name)
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn."""
    return cast("Store", request.param)


@pytest.fixture(scope="session")
def backend_url(store: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every test has a docket of its own in it."""
    return store.url(tmp_path_factory.mktemp(store.name))


@pytest.fixture(autouse=True)
def traced(store: Store, request: pytest.FixtureRequest) -> None:
    """The same lines on another server, or again and again: once is enough for coverage to see them."""
    again = request.node.name.startswith(("test_random_histories", "test_transition"))
    if again or store.name not in SEEN:
        request.getfixturevalue("untraced")


@pytest.fixture
def open_limited(store: Store, open_limited: OpenBackend | None) -> OpenBackend | None:
    """A server of its own, where it takes one."""
    return open_limited if store.limited is None else opener(store.limited())


@pytest.fixture
def disrupt(backend_url: str) -> Disrupt | None:
    """Where a server can close its connections, it does."""
    match backend_url.partition("://")[0]:
        case "postgresql" | "postgres":
            return postgres.closing_connections(backend_url)
        case "redis":
            return redis.closing_connections(backend_url)
        case "redis+cluster":
            return redis_many.closing_all_connections(redis_many.shared_cluster().servers)
        case "redis+sentinel":
            return redis_many.closing_all_connections([redis_many.shared_watched().master])
        case _:
            return None
