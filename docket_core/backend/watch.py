"""What watches one operation of a backend: counts of disruptions always, a span and a time where asked for.

Asked for, because even a span that nobody collects costs more than an operation on a small batch should.
"""

import time
from types import TracebackType
from typing import NamedTuple, Protocol, Self, runtime_checkable

from opentelemetry import metrics, trace

from docket_core.errors import BackendUnavailable, Overloaded


class Telemetry(NamedTuple):
    """Where observations go."""

    tracer: trace.Tracer
    seconds: metrics.Histogram
    disruptions: metrics.Counter

    @staticmethod
    def of(
        tracer_provider: trace.TracerProvider | None = None, meter_provider: metrics.MeterProvider | None = None
    ) -> "Telemetry":
        """Instruments of these providers; None means the process's own."""
        meter = metrics.get_meter("docket_core", meter_provider=meter_provider)
        return Telemetry(
            trace.get_tracer("docket_core", tracer_provider=tracer_provider),
            meter.create_histogram(
                "docket_backend_operation_duration", unit="s", description="How long operations of the backend take"
            ),
            meter.create_counter(
                "docket_backend_disruptions",
                unit="1",
                description="Operations that failed because the store was away, full or refusing",
            ),
        )


TELEMETRY = Telemetry.of()
"""Made once: without an SDK every instrument that is made is kept until there is one."""


_DISRUPTIONS = (BackendUnavailable, Overloaded)


class Watch:
    """Counts the disruptions of one operation. It has no state, so any number of calls share it."""

    __slots__ = ("labels", "telemetry")

    def __init__(self, telemetry: Telemetry, docket: str, operation: str) -> None:
        self.telemetry = telemetry
        self.labels = {"docket.name": docket, "docket.operation": operation}

    def __enter__(self) -> Self:
        return self

    def answered(self, size: int) -> None:
        """How many items came back, where that is not known before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and isinstance(error, _DISRUPTIONS):
            self.telemetry.disruptions.add(1, {**self.labels, "error.type": type(error).__name__})


class Trace(Watch):
    """One call: its span and its time, and the count."""

    __slots__ = ("begun", "scope", "span")

    def __init__(self, telemetry: Telemetry, docket: str, operation: str, size: int | None) -> None:
        super().__init__(telemetry, docket, operation)
        self.scope = telemetry.tracer.start_as_current_span(
            f"docket.backend.{operation}",
            kind=trace.SpanKind.CLIENT,
            attributes={"docket.name": docket} if size is None else {"docket.name": docket, "docket.batch.size": size},
        )

    def __enter__(self) -> Self:
        self.span = self.scope.__enter__()
        self.begun = time.perf_counter()
        return self

    def answered(self, size: int) -> None:
        self.span.set_attribute("docket.batch.size", size)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.telemetry.seconds.record(time.perf_counter() - self.begun, self.labels)
        super().__exit__(kind, error, trace)
        self.scope.__exit__(kind, error, trace)


@runtime_checkable
class AttentiveClock(Protocol):
    """A clock that wants to know which operations are under way, because it moves by itself when none is."""

    def watcher(self, docket: str) -> "Watcher":
        """What watches the operations of one user of the docket's store."""
        ...


class Watcher:
    """Makes what watches one call."""

    def __init__(self, docket: str, telemetry: Telemetry, *, instrumented: bool) -> None:
        self._docket = docket
        self._telemetry = telemetry
        self._instrumented = instrumented
        self._watches: dict[str, Watch] = {}
        self.only_counts = not instrumented and type(self) is Watcher
        """Whether all there is to an operation is to tell of its disruptions."""

    def disrupted(self, operation: str, error: BaseException) -> None:
        """Count the error that an operation has raised, if it is of the store."""
        self.quietly(operation).__exit__(type(error), error, None)

    def __call__(self, operation: str, size: int | None = None) -> Watch:
        if self._instrumented:
            return Trace(self._telemetry, self._docket, operation, size)
        return self._watches.get(operation) or self.quietly(operation)

    def quietly(self, operation: str) -> Watch:
        """Only count, whatever is asked for."""
        watch = self._watches.get(operation)
        if watch is None:
            watch = self._watches[operation] = Watch(self._telemetry, self._docket, operation)
        return watch
