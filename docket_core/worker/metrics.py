"""Metrics over HTTP for Prometheus, where the extra that serves them is installed."""

from collections.abc import Callable
from importlib import import_module

from docket_core.errors import ConfigurationError, MissingExtra


def serve_metrics(port: int) -> Callable[[], None]:
    """Serve `/metrics` on `port`, from a thread of its own; answers what ends it.

    Raises:
        MissingExtra: what it needs is not installed; the message says how to.
        ConfigurationError: the port is taken, or not ours to take.
    """
    try:
        api = import_module("opentelemetry.metrics")
        sdk = import_module("opentelemetry.sdk.metrics")
        exporter = import_module("opentelemetry.exporter.prometheus")
        client = import_module("prometheus_client")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"a metrics port needs {error.name!r}, which is not installed; run: pip install 'docket-core[metrics]'"
        ) from error
    provider = sdk.MeterProvider(metric_readers=[exporter.PrometheusMetricReader()])
    api.set_meter_provider(provider)
    try:
        server, thread = client.start_http_server(port)
    except OSError as error:
        raise ConfigurationError(f"metrics cannot be served on port {port}: {error.strerror or error}") from error

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1)
        provider.shutdown()

    return end
