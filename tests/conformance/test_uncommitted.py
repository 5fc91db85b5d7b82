"""The requirements about an uncommitted key find a store that waits not at all, and one that waits for ever."""

from pathlib import Path

import pytest

from docket_core.backend.clock import ManualClock, Micros
from docket_core.conformance.caller import connect_by_url
from docket_core.conformance.plugin import opener
from docket_core.conformance.subject import Patience, Subject
from docket_core.conformance.suite import TestTransactions as Transactions

SOUND, HASTY, ENDLESS = 1_000, 0, 3_600_000
"""How long SQLite waits for another's lock, in milliseconds."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "seconds", 3.0)


async def put_through(folder: Path, busy_timeout: int, requirement: str) -> None:
    clock = ManualClock()
    url = f"sqlite:///{folder}/docket.db?busy_timeout={busy_timeout}"

    async def advance(delta: Micros) -> None:
        clock.advance(delta)

    async with Subject(opener(url), clock, advance, connect=connect_by_url(url)) as subject:
        await getattr(Transactions(), requirement)(subject)


async def test_hasty_store_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="answered before the commit"):
        await put_through(tmp_path, HASTY, "test_uncommitted_key_blocks_other_adds_of_it")


async def test_endless_wait_is_caught(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        await put_through(tmp_path, ENDLESS, "test_lock_timeout_bounds_the_wait")


@pytest.mark.parametrize(
    "requirement", ["test_uncommitted_key_blocks_other_adds_of_it", "test_lock_timeout_bounds_the_wait"]
)
async def test_sound_store_meets(tmp_path: Path, requirement: str) -> None:
    await put_through(tmp_path, SOUND, requirement)
