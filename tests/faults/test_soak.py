"""Many workers on one store, killed at random while tasks run: see `python -m tests.faults` for the long form."""

from argparse import Namespace
from pathlib import Path

import pytest

from tests.faults.__main__ import soak_all
from tests.support.soak import soak


@pytest.mark.usefixtures("untraced")
async def test_case_05_none_of_5000_tasks_is_lost_while_8_workers_are_killed_at_random(
    shared_url: str, tmp_path: Path
) -> None:
    soaked = await soak(shared_url, tmp_path, tasks=5000, workers=8, pause=0.5)
    assert soaked.killed >= 5


@pytest.mark.usefixtures("untraced")
def test_the_long_form_tells_the_stores_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "another")]
    soak_all(Namespace(url=urls, workers=2, pause=0.2, idle=1.0), tmp_path, 40)
    told = capsys.readouterr().out
    for url in urls:
        assert f"{url}: 40 of 40 tasks completed" in told
