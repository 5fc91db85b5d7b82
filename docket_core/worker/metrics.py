"""Metrics over HTTP for Prometheus, where the extra that serves them is installed."""

from collections.abc import Callable
from importlib import import_module

from docket_core.errors import MissingExtra


def serve_metrics(port: int) -> Callable[[], None]:
    """Serve `/metrics` on `port`, from a thread of its own; answers what ends it.

    Raises:
        MissingExtra: what it needs is not installed; the message says how to.
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
    server, thread = client.start_http_server(port)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join(1)
        provider.shutdown()

    return end
