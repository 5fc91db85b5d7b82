"""Many workers on one store, killed at random while tasks run: see `python -m tests.faults` for the long form."""

from pathlib import Path

import pytest

from tests.support.soak import soak


@pytest.mark.usefixtures("untraced")
async def test_case_05_none_of_5000_tasks_is_lost_while_8_workers_are_killed_at_random(
    shared_url: str, tmp_path: Path
) -> None:
    soaked = await soak(shared_url, tmp_path, tasks=5000, workers=8, pause=0.5)
    assert soaked.killed >= 5
