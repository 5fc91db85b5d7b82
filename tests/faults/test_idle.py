"""Case 29 and its neighbours: an idle worker costs next to nothing, and no driver that is not used is imported."""

import asyncio
from pathlib import Path

import pytest

from tests.support.nursery import bare_nursery
from tests.support.urls import STORES, Store

EMBEDDED = [store for store in STORES if store.name in ("memory", "sqlite")]


@pytest.mark.parametrize("store", EMBEDDED, ids=repr)
async def test_case_29_an_idle_worker_uses_less_than_a_hundredth_of_a_core(store: Store, tmp_path: Path) -> None:
    """The short form; `python -m tests.faults` takes a minute. Neither redis nor asyncpg is imported meanwhile."""
    with bare_nursery(tmp_path) as children:
        child = children.start("tests.support.fleet:idle", store.url(tmp_path), 3.0)
        used = await asyncio.to_thread(child.wait)
        assert used < 10, children.errors()
