"""The observing wrapper: everything passes through, and what is seen of it is what happened."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, OnConflict, Task
from docket_core.backend.observed import ObservedBackend
from docket_core.backend.protocol import Backend, Enqueuer
from docket_core.backend.records import StrikeRule, StrikesCaughtUp, Topic
from docket_core.backend.registry import open_backend
from docket_core.backend.states import State
from docket_core.backend.watch import Telemetry
from docket_core.errors import BackendUnavailable, CapabilityMissing, Overloaded, SchemaMismatch

OPERATIONS = sorted(
    name
    for kind in (Backend, Enqueuer)
    for name, member in vars(kind).items()
    if inspect.isfunction(member) and not name.startswith("_")
)
STORES = count()


class Seen:
    """An SDK in memory, and short ways to what it holds."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics])
        self.telemetry = Telemetry.of(tracers, self.meters)

    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def attributes(self) -> dict[str, dict[str, Any]]:
        return {span.name: dict(span.attributes or {}) for span in self.spans()}

    def _points(self, name: str) -> Iterator[Any]:
        data = self._metrics.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        assert isinstance(metric.data, Histogram | Sum)
                        yield from metric.data.data_points

    def timed(self) -> dict[str, int]:
        points = self._points("docket_backend_operation_duration")
        return {point.attributes["docket.operation"]: point.count for point in points}

    def disruptions(self) -> dict[tuple[str, ...], int]:
        points = self._points("docket_backend_disruptions")
        names = ("docket.name", "docket.operation", "error.type")
        return {tuple(point.attributes[name] for name in names): point.value for point in points}


@pytest.fixture
def seen() -> Iterator[Seen]:
    made = Seen()
    yield made
    made.meters.shutdown()


def observed(seen: Seen, *, instrumented: bool = True) -> ObservedBackend:
    """A store of its own, as memory keeps what has ended for the next one who opens the same."""
    backend = open_backend(f"memory://observed-{next(STORES)}", "orders")
    return ObservedBackend(backend, instrumented=instrumented, telemetry=seen.telemetry)


async def every_operation(backend: Backend) -> None:
    """Call each operation of the protocol once, with sense."""
    async with backend:
        async with backend.subscribe({Topic.STATE}, None) as events, backend.strikes() as strikes:
            await backend.enqueue([Task("a", "f", b"", "r1"), Task("b", "f", b"", "r2")])
            await backend.schedule([Task("c", "f", b"", "r3", delay=SECOND)], OnConflict.REPLACE)
            assert (await anext(aiter(events))).key == "a"
            await backend.strike("rule", b"x")
            told = aiter(strikes)
            assert [await anext(told), await anext(told)] == [StrikesCaughtUp(0), StrikeRule("rule", b"x", 1)]
            await backend.strike("rule", None)
        claimed = await backend.claim("w", {"f"}, 10, SECOND, 3)
        await backend.wait({"f"}, object(), None)
        await backend.renew(claimed.claims, SECOND)
        await backend.acquire([])
        await backend.release([])
        await backend.progress([])
        await backend.heartbeat("w", {"f"}, SECOND)
        assert [worker.name for worker in await backend.workers("f")] == ["w"]
        await backend.retire("w")
        await backend.ack([Ack.complete(claim) for claim in claimed.claims])
        await backend.cancel(["c", "d", "e"])
        assert [record is not None for record in await backend.get(["a", "x"])] == [True, False]
        assert len((await backend.scan({State.COMPLETED}, 10)).records) == 2
        assert not await backend.counts()
        await backend.clear()
        await backend.prune(10)
        with pytest.raises(CapabilityMissing):
            backend.join(object())


def test_it_is_a_backend_and_hides_no_operation_behind_another_signature() -> None:
    for name in OPERATIONS:
        assert inspect.signature(getattr(ObservedBackend, name)) == inspect.signature(getattr(Backend, name))


async def test_it_shows_what_it_observes(seen: Seen) -> None:
    backend = observed(seen)
    assert isinstance(backend, Backend)
    assert (backend.name, backend.url) == ("orders", backend.inner.url)
    assert backend.clock is backend.inner.clock
    assert backend.capabilities == backend.inner.capabilities
    assert repr(backend) == f"<observed {backend.inner!r}>"


async def test_every_operation_but_wait_has_a_span_and_a_time(seen: Seen) -> None:
    await every_operation(observed(seen))
    expected = {*OPERATIONS, "open", "close"} - {"wait", "join"}
    assert {name.removeprefix("docket.backend.") for name in seen.attributes()} == expected
    assert set(seen.timed()) == expected
    assert seen.timed()["strike"] == 2
    assert all(span.status.status_code is StatusCode.UNSET for span in seen.spans())
    assert {attributes["docket.name"] for attributes in seen.attributes().values()} == {"orders"}
    assert not seen.disruptions()


@pytest.mark.parametrize(
    ("operation", "size"),
    [("enqueue", 2), ("schedule", 1), ("claim", 2), ("ack", 2), ("cancel", 3), ("get", 2), ("scan", 2), ("clear", 0)],
)
async def test_a_span_tells_how_many_items_there_were(seen: Seen, operation: str, size: int) -> None:
    await every_operation(observed(seen))
    assert seen.attributes()[f"docket.backend.{operation}"]["docket.batch.size"] == size


async def test_without_instrumentation_nothing_is_recorded(seen: Seen) -> None:
    await every_operation(observed(seen, instrumented=False))
    assert not seen.spans()
    assert not seen.timed()


class Failing:
    """A backend whose every operation raises; only what these tests call is there."""

    name, url = "orders", "failing://"

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def claim(self, *_: object) -> None:
        raise self._error

    async def wait(self, *_: object) -> None:
        raise self._error

    @asynccontextmanager
    async def strikes(self) -> AsyncGenerator[None, None]:
        await self.wait()
        yield


def failing(error: BaseException, seen: Seen, *, instrumented: bool) -> ObservedBackend:
    inner: Any = Failing(error)
    return ObservedBackend(inner, instrumented=instrumented, telemetry=seen.telemetry)


@pytest.mark.parametrize("instrumented", [True, False])
@pytest.mark.parametrize("error", [BackendUnavailable("away"), Overloaded("full")])
async def test_disruptions_are_always_counted(seen: Seen, error: Exception, *, instrumented: bool) -> None:
    backend = failing(error, seen, instrumented=instrumented)
    for _ in range(2):
        with pytest.raises(type(error)):
            await backend.claim("w", None, 1, SECOND)
    with pytest.raises(type(error)):
        await backend.wait(None, None, None)
    with pytest.raises(type(error)):
        async with backend.strikes():
            pass
    kind = type(error).__name__
    assert seen.disruptions() == {
        ("orders", "claim", kind): 2,
        ("orders", "wait", kind): 1,
        ("orders", "strikes", kind): 1,
    }


@pytest.mark.parametrize("error", [SchemaMismatch("old"), KeyError("a bug"), asyncio.CancelledError()])
async def test_other_errors_are_no_disruptions(seen: Seen, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        await failing(error, seen, instrumented=True).claim("w", None, 1, SECOND)
    assert caught.value is error
    assert not seen.disruptions()


@pytest.mark.parametrize(
    ("error", "status"), [(BackendUnavailable("away"), StatusCode.ERROR), (asyncio.CancelledError(), StatusCode.UNSET)]
)
async def test_a_failed_span_says_why_and_a_cancelled_one_has_not_failed(
    seen: Seen, error: BaseException, status: StatusCode
) -> None:
    with pytest.raises(type(error)):
        await failing(error, seen, instrumented=True).claim("w", None, 1, SECOND)
    (span,) = seen.spans()
    assert span.status.status_code is status
    assert len(span.events) == (status is StatusCode.ERROR)


async def test_what_a_user_does_inside_a_context_is_not_the_stores_fault(seen: Seen) -> None:
    async with observed(seen, instrumented=False) as backend:
        with pytest.raises(Overloaded, match="elsewhere"):
            async with backend.strikes():
                raise Overloaded("elsewhere")
    assert not seen.disruptions()


class Transaction:
    """An enqueuer that takes nothing."""

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> list[Any]:
        return []

    async def schedule(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> list[Any]:
        raise BackendUnavailable("away")


class Transactional(Failing):
    @asynccontextmanager
    async def join(self, connection: object) -> AsyncGenerator[Enqueuer, None]:
        yield Transaction()


async def test_tasks_that_join_a_transaction_are_seen(seen: Seen) -> None:
    inner: Any = Transactional(ValueError())
    backend = ObservedBackend(inner, instrumented=True, telemetry=seen.telemetry)
    task = Task("k", "f", b"", "r")
    with pytest.raises(BackendUnavailable):
        async with backend.join(object()) as transaction:
            await transaction.enqueue([task, task])
            await transaction.schedule([task])
    assert {name: attributes.get("docket.batch.size") for name, attributes in seen.attributes().items()} == {
        "docket.backend.join": None,
        "docket.backend.enqueue": 2,
        "docket.backend.schedule": 1,
    }
    assert seen.disruptions() == {("orders", "schedule", "BackendUnavailable"): 1}
