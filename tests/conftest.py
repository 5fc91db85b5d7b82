"""What every test stands on."""

import gc
import signal
import sys
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.seen import import_everything, nobody_looks

pytest_plugins = [
    "tests.support.budget",
    "tests.support.sharing",
    "tests.support.plugins",
    "docket_core.conformance.plugin",
]

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("docket", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("docket")


def pytest_configure() -> None:
    """A run that is told to end does so in order, so that its servers end with it."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: object) -> None:
    pytest.exit("told to end", 128 + number)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Our modules are imported first, while coverage looks; then tests are collected in half the time.

    What is there once they are collected stays to the end: tests that collect garbage need not go through it each time.
    """
    if sys.gettrace() is None:
        collected = yield
    else:
        import_everything()
        with nobody_looks():
            collected = yield
    gc.collect()
    gc.freeze()
    return collected


@pytest.fixture
def untraced() -> Iterator[None]:
    """Coverage does not look, for lines that it sees elsewhere: it doubles the time of a test, and more in loops."""
    with nobody_looks():
        yield
