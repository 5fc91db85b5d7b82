"""The stores that tests run against, by name; a backend that arrives adds its own here."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Store(NamedTuple):
    """A backend's store for the tests of one run."""

    name: str
    url: Callable[[Path], str]
    """Its URL, given a folder of this run's own."""


def memory(folder: Path) -> str:
    return f"memory://{folder.name}"


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'docket.db'}?synchronous=normal"


STORES = (Store("memory", memory), Store("sqlite", sqlite))
