"""The stores that behaviour tests run on. A new backend is a new line here, and nothing else."""

from collections.abc import Callable
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NamedTuple

from docket_core.backend.capabilities import Capabilities
from docket_core.backend.registry import open_backend
from tests.support.servers import redis

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


STORES = [
    Store(Address("memory", lambda folder: f"memory://test-{next(_numbers)}")),
    Store(Address("sqlite", lambda folder: f"sqlite:///{folder}/docket.db")),
    Store(Address("redis", lambda folder: f"{redis.shared_url('6.2')}/{next(_numbers)}")),
]
"""All of them."""
SHARED = [store for store in STORES if store.capabilities.distributed]
"""Those that several processes can open."""
