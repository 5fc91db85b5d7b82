"""What every test stands on."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.budget", "tests.support.plugins", "docket_core.conformance.plugin"]

# Machines that run tests are shared: how long one example takes says nothing.
settings.register_profile("docket", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("docket")
