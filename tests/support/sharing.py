"""How several processes share the tests: what is costly to set up is set up once, all else goes where there is room."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling
from xdist.workermanage import WorkerController

TOGETHER = {"packaging"}
"""Folders whose tests share what is costly to set up: one process runs them all."""
BY_FILE = {"benchmarks", "cli", "contrib", "faults"}
"""Folders whose files share servers or processes: one process runs each file."""
WHOLE = {"tests/docs/test_site.py"}
"""Files of other folders that one process runs."""


def share_of(node: str) -> str:
    """What names the tests that one process runs together with this one."""
    file = node.partition("::")[0]
    folder = file.split("/")[1] if file.startswith("tests/") else ""
    if folder in TOGETHER:
        return folder
    return file if folder in BY_FILE or file in WHOLE else node


class ByShare(LoadScopeScheduling):
    """Goes by where a test is, which every version of pytest tells."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Forgets the shares that are done: xdist goes through all of a process's shares after each test."""
        share = share_of(self.registered_collections[node][item_index])
        super().mark_test_complete(node, item_index, duration)
        shares = self.assigned_work[node]
        if all(shares[share].values()):
            del shares[share]


@pytest.hookimpl(optionalhook=True)  # where one process runs all there is nothing to share
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return ByShare(config, log)
