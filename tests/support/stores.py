"""The stores that tests run against, by name; a backend that arrives adds its own here."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Store(NamedTuple):
    """A backend's store for the tests of one run."""

    name: str
    url: Callable[[Path], str]
    """Its URL, given a folder of this run's own."""


STORES = (
    Store("memory", lambda folder: f"memory://{folder.name}"),
    Store("sqlite", lambda folder: f"sqlite:///{folder / 'docket.db'}?synchronous=normal"),
)
