"""More than thirty task functions that use every dependency there is, and note what happens to them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Annotated, Any

from docket_core import (
    AdmissionBlocked,
    CallArgument,
    CompletionHandler,
    ConcurrencyLimit,
    Cooldown,
    Cron,
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    Debounce,
    Depends,
    Docket,
    Execution,
    ExecutionProgress,
    ExponentialRetry,
    FailureHandler,
    Logged,
    Perpetual,
    Progress,
    RateLimit,
    Retry,
    Runtime,
    Shared,
    TaskArgument,
    TaskKey,
    TaskLogger,
    TaskOutcome,
    Timeout,
    Worker,
)
from docket_core.backend.kit import sleep
from docket_core.dependencies import current_docket, current_execution

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
notes: list[tuple[int, str, int, str]] = []
"""Microseconds, key, attempt, text."""


def note(text: str = "ran") -> None:
    execution = current_execution.get()
    notes.append((current_docket.get().clock.now(), execution.key, execution.attempt, text))


async def pause(seconds: float) -> None:
    await sleep(current_docket.get().clock, int(seconds * 1_000_000))


# --- bodies ---------------------------------------------------------------------------------------


async def plain(value: object) -> object:
    note()
    return value


def in_a_thread(value: int) -> int:
    note()
    return value + 1


async def nothing() -> None:
    note()


async def surplus(*args: int, **kwargs: int) -> list[Any]:
    note()
    return [args, kwargs]


async def large() -> str:
    note()
    return "x" * 300_000


async def too_large() -> str:
    note()
    return "x" * 2_000_000


async def failing() -> None:
    note()
    raise ValueError("as it was told to")


async def failing_stubbornly() -> None:
    class Local(Exception):
        def __reduce__(self) -> str:
            raise TypeError("I stay here")

    note()
    raise Local("never leaves home")


async def leaving() -> None:
    note()
    raise SystemExit(3)


async def cancelling_itself() -> None:
    note()
    raise asyncio.CancelledError


async def unserialisable() -> object:
    note()
    return asyncio.get_running_loop()


# --- again and again ------------------------------------------------------------------------------


async def retried(succeeds_at: int, retry: Retry = Retry(attempts=3, delay=7 * SECOND)) -> int:
    note()
    if retry.attempt < succeeds_at:
        raise ConnectionError(f"attempt {retry.attempt}")
    return retry.attempt


async def doubling(retry: ExponentialRetry = ExponentialRetry(attempts=4, maximum_delay=3 * SECOND)) -> None:
    note()
    raise ConnectionError("down")


async def picky(retry: Retry = Retry(attempts=5, on=ConnectionError)) -> None:
    note()
    raise (ConnectionError if retry.attempt == 1 else LookupError)("picky")


async def choosing(retry: Retry = Retry(attempts=3)) -> str:
    note()
    if retry.attempt == 1:
        retry.after(11 * SECOND)
    if retry.attempt == 2:
        retry.at(current_execution.get().when + MINUTE)
    return "chosen"


async def beating(perpetual: Perpetual = Perpetual(every=20 * MINUTE, automatic=True)) -> None:
    note()


async def steered(number: int, perpetual: Perpetual = Perpetual(every=MINUTE)) -> int:
    note(str(number))
    if number == 2:
        perpetual.after(5 * SECOND)
    if number == 4:
        perpetual.cancel()
    perpetual.perpetuate(number + 1)
    return number


async def failing_chain(
    perpetual: Perpetual = Perpetual(every=30 * MINUTE), retry: Retry = Retry(attempts=2, delay=SECOND)
) -> None:
    note()
    raise ValueError("each time")


async def hourly(cron: Cron = Cron("@hourly")) -> None:
    note()


# --- time -----------------------------------------------------------------------------------------


async def too_slow(timeout: Timeout = Timeout(4 * SECOND)) -> None:
    note()
    await pause(60)


async def extended(timeout: Timeout = Timeout(4 * SECOND)) -> str:
    note()
    await pause(3)
    timeout.extend()
    await pause(4)
    return str(timeout.remaining())


async def annotated_timeout(seconds: Annotated[float, Timeout(2 * SECOND), Retry(attempts=2)]) -> None:
    note()
    await pause(seconds)


# --- what it is given -----------------------------------------------------------------------------


@contextmanager
def connection() -> Generator[str, None, None]:
    note("opened")
    yield "connection"
    note("closed")


@asynccontextmanager
async def session(connection: str = Depends(connection)) -> AsyncGenerator[str, None]:
    yield f"session on {connection}"


async def with_dependencies(session: str = Depends(session), connection: str = Depends(connection)) -> list[str]:
    note()
    return [session, connection]


def unavailable() -> None:
    raise ConnectionError("no connection")


async def without_dependencies(value: None = Depends(unavailable), ok: str = Depends(connection)) -> None:
    note("it must not come here")


@asynccontextmanager
async def pool() -> AsyncGenerator[str, None]:
    yield "pool"


async def sharing(pool: str = Shared(pool)) -> str:
    note()
    return pool


def about(customer: int = TaskArgument(), same: int = CallArgument("customer"), key: str = TaskKey()) -> list[object]:
    return [customer, same, key]


async def oriented(
    customer: int,
    docket: Docket = CurrentDocket(),
    worker: Worker = CurrentWorker(),
    execution: Execution = CurrentExecution(),
    logger: Any = TaskLogger(),
    about: list[object] = Depends(about),
) -> list[object]:
    note()
    logger.info("oriented")
    return [docket.name, worker.name, execution.attempt, execution.redelivered, execution.call_repr(), about]


async def progressing(name: Annotated[str, Logged()], progress: ExecutionProgress = Progress()) -> list[object]:
    note()
    await progress.set_total(4)
    await progress.increment(3)
    await progress.set_message(name)
    await progress.sync()
    return [progress.current, progress.total, progress.message]


# --- limits ---------------------------------------------------------------------------------------


async def one_per_value(customer: int, limit: ConcurrencyLimit = ConcurrencyLimit("customer")) -> None:
    note("begins")
    await pause(5)
    note("ends")


async def two_at_a_time(number: Annotated[int, Logged()], limit: ConcurrencyLimit = ConcurrencyLimit(None, 2)) -> None:
    note("begins")
    await pause(5)


async def annotated_limit(customer: Annotated[int, ConcurrencyLimit()]) -> None:
    note("begins")
    await pause(2)


async def rated(limit: RateLimit = RateLimit(2, per=MINUTE)) -> None:
    note()


async def rated_and_dropped(limit: RateLimit = RateLimit(1, per=MINUTE, drop=True)) -> None:
    note()


async def cooled(cooldown: Cooldown = Cooldown(MINUTE)) -> None:
    note()


async def settled(debounce: Debounce = Debounce(5 * SECOND)) -> None:
    note()


async def limited_in_many_ways(
    limit: ConcurrencyLimit = ConcurrencyLimit(scope="shared"),
    rate: RateLimit = RateLimit(2, per=MINUTE, scope="shared"),
    retry: Retry = Retry(attempts=2),
) -> None:
    note()
    if retry.attempt == 1:
        raise ValueError("once more")


def not_yet(execution: Execution = CurrentExecution()) -> None:
    if execution.docket.clock.now() < int(execution.kwargs["until"]):
        raise AdmissionBlocked(execution, "not yet", retry_delay=10 * SECOND)


async def blocked(until: int, gate: None = Depends(not_yet)) -> None:
    note()


# --- hooks ----------------------------------------------------------------------------------------


class Noting(CompletionHandler["Noting"]):
    async def __aenter__(self) -> "Noting":
        return self

    async def on_complete(self, execution: Execution, outcome: TaskOutcome) -> bool:
        note(f"completed: {outcome.result!r} {outcome.exception!r}")
        return False


class Swallowing(FailureHandler["Swallowing"]):
    async def __aenter__(self) -> "Swallowing":
        return self

    async def handle_failure(self, execution: Execution, outcome: TaskOutcome) -> bool:
        note(f"failed: {outcome.exception!r}")
        return True


class Wrapping(Runtime["Wrapping"]):
    async def __aenter__(self) -> "Wrapping":
        return self

    async def run(self, execution: Execution, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return ["wrapped", await function(*args, **kwargs)]


async def hooked(
    fails: bool, noting: Noting = Noting(), swallowing: Swallowing = Swallowing(), wrapping: Wrapping = Wrapping()
) -> str:
    note()
    if fails:
        raise ValueError("hooked")
    return "hooked"


tasks: list[Callable[..., Any]] = [
    plain, in_a_thread, nothing, surplus, large, too_large, failing, failing_stubbornly, leaving, cancelling_itself,
    unserialisable, retried, doubling, picky, choosing, beating, steered, failing_chain, hourly, too_slow, extended,
    annotated_timeout, with_dependencies, without_dependencies, sharing, oriented, progressing, one_per_value,
    two_at_a_time, annotated_limit, rated, rated_and_dropped, cooled, settled, limited_in_many_ways, blocked, hooked,
]  # fmt: skip
