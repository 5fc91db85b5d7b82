"""The stores that tests run against, by name; a backend that arrives adds its own here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.support.servers import postgres, redis, redis_many


class Store(NamedTuple):
    """A backend's store for the tests of one run."""

    name: str
    url: Callable[[Path], str]
    """Its URL, given a folder of this run's own."""
    limited: Callable[[], str] | None = None
    """The URL of an empty one of its kind that is soon full, where the plugin cannot name one."""


def _given(url: str, _: Path) -> str:
    return url


def _outside(kind: str, url: str | None) -> list[Store]:
    """A server that somebody else runs, beside those that the tests start."""
    return [] if url is None else [Store(f"{kind}-outside", partial(_given, url))]


def _memory(folder: Path) -> str:
    return f"memory://{folder.name}"


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'docket.db'}?synchronous=normal"


def _shared_postgres(version: str, _: Path) -> str:
    return postgres.shared_postgres_url(version)


def _postgres() -> list[Store]:
    """Every version of the server that is here, and one that somebody else runs for the tests."""
    stores = [Store(f"postgres-{version}", partial(_shared_postgres, version)) for version in ("16", "18")]
    return stores + _outside("postgres", postgres.outside_url())


def _shared_redis(release: str, _: Path) -> str:
    return redis.shared_url(release)


def _redis() -> list[Store]:
    """Every version of the server that is here, and one that somebody else runs for the tests."""
    stores = [
        Store(f"redis-{release}", partial(_shared_redis, release), partial(redis.limited_url, release))
        for release in redis.binaries()
    ]
    return stores + _outside("redis", redis.outside_url())


def _cluster(_: Path) -> str:
    return redis_many.shared_cluster().url


def _sentinel(_: Path) -> str:
    return redis_many.shared_watched().url


STORES = (
    Store("memory", _memory),
    Store("sqlite", _sqlite),
    *_postgres(),
    *_redis(),
    Store("redis-cluster", _cluster),
    Store("redis-sentinel", _sentinel),
)
