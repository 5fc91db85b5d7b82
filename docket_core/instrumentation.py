"""Metrics and tracing, through the OpenTelemetry API: without an SDK they cost next to nothing."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry import metrics, trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Link, Span, SpanKind, Tracer

meter = metrics.get_meter("docket_core")
tracer: Tracer = trace.get_tracer("docket_core")

TASKS_ADDED = meter.create_counter("docket_tasks_added", unit="1", description="Tasks added")
TASKS_REPLACED = meter.create_counter("docket_tasks_replaced", unit="1", description="Tasks replaced")
TASKS_SCHEDULED = meter.create_counter("docket_tasks_scheduled", unit="1", description="Tasks accepted, by any way")
TASKS_CANCELLED = meter.create_counter("docket_tasks_cancelled", unit="1", description="Tasks cancelled")
TASKS_STARTED = meter.create_counter("docket_tasks_started", unit="1", description="Task bodies started")
TASKS_REDELIVERED = meter.create_counter(
    "docket_tasks_redelivered", unit="1", description="Tasks started again after a lease was lost"
)
TASKS_STRICKEN = meter.create_counter("docket_tasks_stricken", unit="1", description="Tasks stopped by a strike")
TASKS_SUPERSEDED = meter.create_counter(
    "docket_tasks_superseded", unit="1", description="Runs whose end counted for nothing: replaced or lost"
)
TASKS_COMPLETED = meter.create_counter("docket_tasks_completed", unit="1", description="Tasks that ended, in any way")
TASKS_FAILED = meter.create_counter("docket_tasks_failed", unit="1", description="Tasks that failed")
TASKS_SUCCEEDED = meter.create_counter("docket_tasks_succeeded", unit="1", description="Tasks that succeeded")
TASKS_RETRIED = meter.create_counter("docket_tasks_retried", unit="1", description="Retries recorded")
TASKS_PERPETUATED = meter.create_counter(
    "docket_tasks_perpetuated", unit="1", description="Successors of perpetual tasks recorded"
)
TASKS_RUNNING = meter.create_up_down_counter("docket_tasks_running", unit="1", description="Tasks running now")
TASK_DURATION = meter.create_histogram("docket_task_duration", unit="s", description="How long task bodies ran")
TASK_PUNCTUALITY = meter.create_histogram(
    "docket_task_punctuality", unit="s", description="How long after its time a task started"
)
STRIKES_IN_EFFECT = meter.create_up_down_counter("docket_strikes_in_effect", unit="1", description="Strikes in effect")
QUEUE_DEPTH = meter.create_gauge(
    "docket_queue_depth", unit="1", description="Tasks that are ready, those that no worker knows included"
)
SCHEDULE_DEPTH = meter.create_gauge("docket_schedule_depth", unit="1", description="Tasks whose time has not come")


def measured() -> bool:
    """Whether metrics go anywhere: the provider is not one of those that the API alone brings."""
    return not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics")


def provided() -> bool:
    """Whether a tracer provider has been set up.

    Asked for every task, so the module's variable is looked at if it is there: as long as nothing is set up, the
    public function reads the environment at every call.
    """
    provider = getattr(trace, "_TRACER_PROVIDER", trace)
    if provider is None:
        return False
    if provider is trace:
        provider = trace.get_tracer_provider()
    return not isinstance(provider, trace.ProxyTracerProvider)


def tracing() -> bool:
    """Whether spans would go anywhere: a tracer provider has been set up, or a trace is under way."""
    return provided() or (bool(get_current()) and trace.get_current_span() is not trace.INVALID_SPAN)


def outgoing_context() -> dict[str, str]:
    """The trace context to send with a call; empty where nothing traces."""
    if trace.get_current_span() is trace.INVALID_SPAN:
        return {}
    from opentelemetry import propagate  # noqa: PLC0415 - slow to import, and only traces need it

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier


def incoming_context(headers: Mapping[str, str]) -> Context | None:
    """The trace context that came with a call."""
    if not headers:
        return None
    from opentelemetry import propagate  # noqa: PLC0415 - slow to import, and only traces need it

    return propagate.extract(headers)


def use_span(span: Span) -> AbstractContextManager[Span]:
    """Make `span` the current one, and end it; what is raised inside is recorded."""
    return trace.use_span(span, end_on_exit=True)


def consumer_span(name: str, headers: Mapping[str, str], attributes: Mapping[str, str | int | bool]) -> Span:
    """A span for one run, linked to the span that scheduled it."""
    links: list[Link] = []
    context = incoming_context(headers)
    if context is not None:
        origin = trace.get_current_span(context).get_span_context()
        if origin.is_valid:
            links.append(Link(origin))
    return tracer.start_span(name, kind=SpanKind.CONSUMER, attributes=attributes, links=links)
