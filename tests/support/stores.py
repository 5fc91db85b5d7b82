"""The stores that tests run against, by name; a backend that arrives adds its own here."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.servers.postgres import shared_postgres_url


class Store(NamedTuple):
    """A backend's store for the tests of one run."""

    name: str
    url: Callable[[Path], str]
    """Its URL, given a folder of this run's own."""


def memory(folder: Path) -> str:
    return f"memory://{folder.name}"


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'docket.db'}?synchronous=normal"


def postgres(version: str) -> Callable[[Path], str]:
    return lambda _: shared_postgres_url(version)


STORES = (
    Store("memory", memory),
    Store("sqlite", sqlite),
    Store("postgres-16", postgres("16")),
    Store("postgres-18", postgres("18")),
)
