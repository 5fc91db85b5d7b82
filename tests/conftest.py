"""What every test stands on."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.budget", "tests.support.plugins", "docket_core.conformance.plugin"]

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("docket", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("docket")

TESTS = Path(__file__).parent
TOGETHER = {"packaging"}
"""Folders whose tests share what is costly to set up: one process runs them all."""
BY_FILE = {"cli", "contrib", "faults"}
"""Folders whose files share servers or processes: one process runs each file."""


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests belong together when several processes share the work."""
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue
        place = item.path.relative_to(TESTS)
        if place.parts[0] in TOGETHER:
            item.add_marker(pytest.mark.xdist_group(place.parts[0]))
        elif place.parts[0] in BY_FILE:
            item.add_marker(pytest.mark.xdist_group(str(place)))
