"""A worker as a process: signals, health, metrics, and the names under which task functions are found."""

import asyncio
import enum
import gc
import logging
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from types import FrameType
from typing import Any, TypedDict

from uncalled_for import Dependency

from docket_core.docket import Docket
from docket_core.errors import BackendError, ConfigurationError
from docket_core.functions import AnyFunction
from docket_core.tasks import standard_tasks
from docket_core.worker.health import health_server
from docket_core.worker.metrics import serve_metrics
from docket_core.worker.worker import Worker

logger = logging.getLogger("docket_core.worker")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
YOUNG = 5000
"""How many objects the garbage collector lets come into being before it looks at them."""


class WorkerOptions(TypedDict, total=False):
    """What `Worker` takes beside its docket and its name."""

    concurrency: int
    redelivery_timeout: timedelta
    reconnection_delay: timedelta
    minimum_check_interval: timedelta
    scheduling_resolution: timedelta
    schedule_automatic_tasks: bool
    enable_internal_instrumentation: bool
    fallback_task: AnyFunction | str | None
    dependencies: Mapping[str, Dependency[Any]] | Sequence[Dependency[Any]] | None
    max_deliveries: int | None
    shutdown_grace: timedelta | None


class Ending(enum.Enum):
    """Why a worker's process has ended."""

    FINISHED = "there was nothing left to do"
    STOPPED = "a signal told it to stop, and it ended what ran"
    LEFT = "a second signal told it to leave at once"


async def run_worker(
    worker: Worker,
    *,
    until_finished: bool = False,
    healthcheck_port: int | None = None,
    metrics_port: int | None = None,
    opened: Callable[[Docket], None] | None = None,
) -> Ending:
    """Open the worker's docket and run it until it has finished or is told to stop.

    The first SIGTERM or SIGINT lets running tasks end, within the worker's grace; the second cancels them and gives
    them back.

    Args:
        worker: not yet running, with a docket that is not yet open.
        until_finished: end once there is nothing ready, scheduled or active.
        healthcheck_port: serve `/live` and `/ready` there.
        metrics_port: serve metrics for Prometheus there.
        opened: called with the docket once it is open; what it raises ends the worker.

    Raises:
        ConfigurationError: a port is taken, or not ours to take.
        MissingExtra: metrics were asked for, and what serves them is not installed.
        BackendUnavailable: the store could not be opened.
    """

    async def body() -> None:
        async with AsyncExitStack() as stack:
            if metrics_port is not None:
                stack.callback(serve_metrics(metrics_port))
            if healthcheck_port is not None:
                port = await stack.enter_async_context(_health(healthcheck_port, worker))
                logger.info("worker %s answers /live and /ready on port %d", worker.name, port)
            await stack.enter_async_context(worker.docket)
            if opened is not None:
                opened(worker.docket)
            if worker.knows_only({task.__name__ for task in standard_tasks}):
                logger.warning("worker %s knows no functions of yours: name them with --tasks module:list", worker.name)
            await stack.enter_async_context(worker)
            stack.enter_context(start_kept())
            if not until_finished:
                await worker.run_forever()
                return
            await worker.run_until_finished()
            await _tell_what_is_left(worker)

    ending = await until_signalled(body())
    logger.info("worker %s has ended: %s", worker.name, ending.value)
    return ending


@contextmanager
def start_kept() -> Generator[None, None, None]:
    """While this is entered, the garbage collector does not look again and again at what a worker's start has left.

    That lives as long as the process (see `gc.freeze`). Young objects are looked at once they are as many as the tasks
    that a worker has in hand are made of: before, nearly all of them are still in use; see docs/adr/0017. Only for a
    process that is the worker's own: elsewhere, and in a thread beside others, others decide.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    young, *older = gc.get_threshold()
    gc.collect()
    gc.freeze()
    if young:  # else somebody has switched it off
        gc.set_threshold(max(young, YOUNG), *older)
    try:
        yield
    finally:
        gc.set_threshold(young, *older)
        gc.unfreeze()


async def _tell_what_is_left(worker: Worker) -> None:
    """A worker has finished where others have not: it does not know their functions."""
    with suppress(BackendError):
        for counts in await worker.docket.backend.counts():
            waiting = counts.queued + counts.scheduled + counts.parked
            if waiting and not worker.knows(counts.function):
                logger.warning("left for a worker that knows %s: %d tasks", counts.function, waiting)


@asynccontextmanager
async def _health(port: int, worker: Worker) -> AsyncGenerator[int, None]:
    async with AsyncExitStack() as stack:
        try:
            served = await stack.enter_async_context(health_server(port, worker.is_ready))
        except OSError as error:
            raise ConfigurationError(f"health cannot be served on port {port}: {error.strerror or error}") from error
        yield served


async def until_signalled(main: Coroutine[Any, Any, None]) -> Ending:
    """Run `main`; each SIGTERM or SIGINT cancels it once, which drains a worker, and then ends it at once."""
    task = asyncio.ensure_future(main)
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        task.cancel()

    try:
        with _handled(stop):
            await asyncio.wait([task])
    except asyncio.CancelledError:  # cancelled by who called, and not by a signal: pass it on
        task.cancel()
        await asyncio.wait([task])
        raise
    if not task.cancelled():
        task.result()
        return Ending.STOPPED if signals else Ending.FINISHED
    if not signals:
        raise asyncio.CancelledError
    return Ending.STOPPED if signals == 1 else Ending.LEFT


@contextmanager
def _handled(stop: Callable[[], None]) -> Generator[None, None, None]:
    """Call `stop` on the loop at each signal while this is entered; outside of the main thread do nothing."""
    loop = asyncio.get_running_loop()
    restore: list[Callable[[], object]] = []
    for number in SIGNALS:
        before = signal.getsignal(number)
        try:
            loop.add_signal_handler(number, stop)
        except (NotImplementedError, RuntimeError, ValueError):
            with suppress(ValueError):
                signal.signal(number, _caller(loop, stop))
                restore.append(_restorer(number, before))
        else:
            restore.append(_remover(loop, number, before))
    try:
        yield
    finally:
        for put_back in restore:
            put_back()


def _caller(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    def call(number: int, frame: FrameType | None) -> None:
        del number, frame
        loop.call_soon_threadsafe(stop)

    return call


def _remover(loop: asyncio.AbstractEventLoop, number: signal.Signals, before: Any) -> Callable[[], object]:
    def remove() -> None:
        loop.remove_signal_handler(number)
        _restorer(number, before)()

    return remove


def _restorer(number: signal.Signals, before: Any) -> Callable[[], object]:
    return lambda: signal.signal(number, before if before is not None else signal.SIG_DFL)
