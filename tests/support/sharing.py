"""How several processes share the tests: what is costly to set up is set up once, all else goes where there is room."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

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


@pytest.hookimpl(optionalhook=True)  # where one process runs all there is nothing to share
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return ByShare(config, log)
