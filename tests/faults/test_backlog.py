"""Invariant I1 with a large backlog: a lost worker and a crash of the server under way lose nothing."""

from pathlib import Path

import pytest

from tests.support.backlog import KINDS, Kind, drain

TASKS = 10_000


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("kind", KINDS, ids=repr)
async def test_a_backlog_drains_with_a_lost_worker_and_a_restart_of_the_server(kind: Kind, tmp_path: Path) -> None:
    """The short form of `python -m tests.faults backlog`."""
    with kind.start(tmp_path) as store:
        drained = await drain(store, tmp_path, TASKS, patience=90)
    assert drained.completed == TASKS
