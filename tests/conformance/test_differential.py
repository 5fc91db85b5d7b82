"""Every backend beside the memory one: the same random histories, zombies included, look the same from outside."""

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis.stateful import run_state_machine_as_test

from docket_core.backend.clock import Clock, ManualClock, Micros
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.conformance.subject import RETENTION, OpenBackend
from docket_core.conformance.test_history import History, profile
from tests.conformance.pair import Pair
from tests.support.stores import STORES, Store

COMPARED = [store for store in STORES if store.name in {"sqlite", "postgres-16", "redis-6.2"}]
EXAMPLES = 10
"""Histories of each; more, and each time others, where the environment says so (`DOCKET_CONFORMANCE_EXAMPLES`)."""


def opener(url: str) -> OpenBackend:
    """Makes instances on the store at `url`."""

    def opened(name: str, clock: Clock | None, *, retention: Micros = RETENTION, max_payload: int = 1 << 20) -> Backend:
        return open_backend(url, name, retention=retention, max_payload=max_payload, clock=clock)

    return opened


@pytest.mark.parametrize("store", COMPARED, ids=lambda store: store.name)
def test_looks_as_the_memory_backend_does(store: Store, tmp_path: Path) -> None:
    backend = opener(store.url(tmp_path))
    memory = opener(f"memory://{uuid4().hex}")

    class Compared(History):
        opener = staticmethod(backend)

        def new_side(self, name: str, retention: Micros) -> Pair:
            return Pair(backend, memory, name, ManualClock(), retention)

    run_state_machine_as_test(Compared, settings=profile(EXAMPLES))
