"""What every test stands on."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.budget",
    "tests.support.sharing",
    "tests.support.plugins",
    "docket_core.conformance.plugin",
]

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("docket", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("docket")


@pytest.fixture
def untraced() -> Iterator[None]:
    """Coverage does not look, for lines that it sees elsewhere: it doubles the time of a test, and more in loops."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)
