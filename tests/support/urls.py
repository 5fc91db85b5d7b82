"""The stores that behaviour tests run on. A new backend is a new line here, and nothing else."""

from collections.abc import Callable
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NamedTuple

from docket_core.backend.capabilities import Capabilities
from docket_core.backend.registry import open_backend

_numbers = count()


class Address(NamedTuple):
    """How to come to a store of a test's own."""

    name: str
    url: Callable[[Path], str]
    """A URL that nobody else uses; the folder is the test's own."""


class Store:
    """One kind of store."""

    def __init__(self, address: Address) -> None:
        self.name = address.name
        self.url = address.url

    def __repr__(self) -> str:
        return self.name

    @cached_property
    def capabilities(self) -> Capabilities:
        """What it can do, as far as that is known before it is opened."""
        return open_backend(self.url(Path("/nowhere")), "probe").capabilities


def _memory(_: Path) -> str:
    return f"memory://test-{next(_numbers)}"


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/docket.db"


STORES = [Store(Address("memory", _memory)), Store(Address("sqlite", _sqlite))]
"""All of them."""
SHARED = [store for store in STORES if store.capabilities.distributed]
"""Those that several processes can open."""
