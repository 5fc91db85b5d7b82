"""Cases 8 and 9: whatever a task, its arguments or a strike holds, it ends that task, and the worker goes on."""

import asyncio
import logging
import pickle
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

from docket_core import Docket, ExecutionState, Worker
from docket_core.backend.model import Task
from docket_core.backend.states import State
from tests.support.workers import within, work_off


class Explodes:
    """Cannot be decoded: raises what it is told to while it is being made again."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, (self.error,)


def _explode(error: type[BaseException]) -> None:
    raise error("while it was decoded")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Gone(Exception):
    """Its pickle says that it ends the process of whoever reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, (SystemExit,)


async def fine() -> str:
    return "fine"


async def take(value: object) -> object:
    return value


async def raise_(error: type[BaseException]) -> None:
    raise error


def raise_in_thread(error: type[BaseException]) -> None:
    raise error


async def put(docket: Docket, function: str, payload: bytes, key: str = "bad") -> None:
    """A task as another version of the program, or anybody else, might have written it."""
    await docket.backend.enqueue([Task(key, function, payload, f"run of {key}")])


async def ends_alone(docket: Docket, key: str) -> tuple[ExecutionState, str]:
    """Run the docket with a healthy task beside it; how the other one ended, and its error."""
    healthy = await docket.add(fine)()
    await work_off(docket)
    assert await healthy.get_result() == "fine"
    execution = await docket.get_execution(key)
    assert execution is not None
    return execution.state, execution.error or ""


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"\x00 no pickle", "cannot be decoded"),
        (b"", "cannot be decoded"),
        (pickle.dumps("no call"), "holds no call"),
        (pickle.dumps(((), {}, 3)), "holds no call"),
        (pickle.dumps(((Explodes(ValueError),), {})), "while it was decoded"),
        (pickle.dumps(((Explodes(SystemExit),), {})), "while it was decoded"),
        (pickle.dumps(((Explodes(KeyboardInterrupt),), {})), "while it was decoded"),
        (b"cno_such_module\nThing\n.", "no_such_module"),
    ],
)
async def test_case_08_a_payload_that_cannot_be_decoded(docket: Docket, payload: bytes, told: str) -> None:
    docket.register(take)
    await put(docket, "take", payload)
    state, error = await ends_alone(docket, "bad")
    assert state is ExecutionState.FAILED
    assert told in error
    record = (await docket.backend.get(["bad"]))[0]
    assert record is not None
    assert record.last is not None
    assert record.last.payload == payload  # kept: it can be looked at, and run again


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2), {}), ((1,), {"value": 2}), ((1,), {"other": 2}), ((), {3: 4})]
)
async def test_case_08_arguments_that_do_not_fit(docket: Docket, args: object, kwargs: object) -> None:
    docket.register(take)
    await put(docket, "take", pickle.dumps((args, kwargs)))
    state, error = await ends_alone(docket, "bad")
    assert state is ExecutionState.FAILED
    assert "TypeError" in error


async def test_case_08_an_unknown_function_is_left_alone(docket: Docket) -> None:
    await put(docket, "nobody_knows", pickle.dumps(((), {})))
    state, _ = await ends_alone(docket, "bad")
    assert state is ExecutionState.QUEUED
    assert (await docket.snapshot()).unknown == {"nobody_knows": 1}


@pytest.mark.parametrize("value", [(n for n in range(3)), Explodes, asyncio.Lock], ids=["generator", "class", "type"])
async def test_case_08_a_result_that_cannot_be_serialised(docket: Docket, value: object) -> None:
    async def give() -> object:
        class Refuses:
            def __reduce__(self) -> str:
                raise SystemExit("not me") if value is Explodes else TypeError("not me")

        return Refuses() if isinstance(value, type) else value

    execution = await docket.add(give)()
    state, error = await ends_alone(docket, execution.key)
    assert state is ExecutionState.FAILED
    assert "the result of give cannot be encoded" in error


async def test_case_08_a_result_that_is_too_large(docket: Docket) -> None:
    async def give() -> bytes:
        return bytes(1 << 20)

    execution = await docket.add(give)()
    state, error = await ends_alone(docket, execution.key)
    assert state is ExecutionState.FAILED
    assert "1,048,576" in error


@pytest.mark.parametrize("task", [raise_, raise_in_thread], ids=["async", "thread"])
@pytest.mark.parametrize(
    "error",
    [
        Mute,
        SystemExit,
        KeyboardInterrupt,
        GeneratorExit,
        asyncio.CancelledError,
        StopIteration,
        StopAsyncIteration,
        Gone,
    ],
)
async def test_case_08_what_a_body_raises_ends_its_task_only(
    docket: Docket, task: Callable[..., Any], error: type[BaseException]
) -> None:
    execution = await docket.add(task)(error)
    state, text = await ends_alone(docket, execution.key)
    assert state is ExecutionState.FAILED
    assert error.__name__ in text
    told: list[BaseException] = []
    try:
        await execution.get_result()
    except BaseException as raised:
        told.append(raised)
    assert len(told) == 1
    assert isinstance(told[0], Exception)  # nothing that would end who waits


async def test_case_08_a_body_that_cancels_itself_has_failed(docket: Docket) -> None:
    begun: list[int] = []

    async def give_up() -> None:
        begun.append(1)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(3600)

    execution = await docket.add(give_up)()
    state, text = await ends_alone(docket, execution.key)
    assert (begun, state) == ([1], ExecutionState.FAILED)
    assert "CancelledError" in text


async def test_case_08_an_endless_chain_of_causes_is_clipped(docket: Docket) -> None:
    async def chained() -> None:
        error: Exception = ValueError("first " + "x" * 20_000)
        for number in range(100):
            follower = ValueError(f"number {number} " + "y" * 1000)
            follower.__cause__ = error
            error = follower
        raise error

    execution = await docket.add(chained)()
    state, text = await ends_alone(docket, execution.key)
    assert state is ExecutionState.FAILED
    assert 1000 < len(text.encode()) <= 16 * 1024
    assert "number 99" in text


class BrokenFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        raise RuntimeError("cannot format")


class BrokenFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("cannot filter")


@contextmanager
def broken_logging(kind: str) -> Generator[None, None, None]:
    root = logging.getLogger()
    loggers = [
        logging.getLogger(name) for name in ("docket_core.worker", "docket_core.strikes", "docket_core.outcomes")
    ]
    handler = logging.StreamHandler()
    handler.setFormatter(BrokenFormatter())
    broken = BrokenFilter()
    level = root.level
    if kind == "formatter":
        root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        if kind == "filter":
            logger.addFilter(broken)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        for logger in loggers:
            logger.removeFilter(broken)
            logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("kind", ["formatter", "filter"])
async def test_case_08_logging_that_fails_costs_lines_and_no_task(docket: Docket, kind: str) -> None:
    docket.register(take)
    with broken_logging(kind):
        await docket.backend.strike("rule", b"no strike")
        await put(docket, "take", b"no pickle")
        failing = await docket.add(raise_)(ValueError)
        state, error = await ends_alone(docket, "bad")
        assert state is ExecutionState.FAILED
        assert "cannot be decoded" in error
        with pytest.raises(ValueError):
            await failing.get_result()


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("cannot be shown")


async def test_case_08_arguments_that_cannot_be_shown_can_be_used(docket: Docket) -> None:
    execution = await docket.add(take)(Unshowable())
    await work_off(docket)
    assert isinstance(await execution.get_result(), Unshowable)


async def test_a_worker_in_which_all_of_this_happens_runs_on(docket: Docket) -> None:
    """All at once on one slot, so that one that was lost would be missed."""
    errors = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Mute, StopIteration]
    async with Worker(docket, concurrency=1) as worker:
        for error in errors:
            await docket.add(raise_)(error)
            await docket.add(raise_in_thread)(error)
        last = await docket.add(fine)()
        await within(worker.run_until_finished())
    assert await last.get_result() == "fine"
    page = await docket.backend.scan({State.FAILED}, 100)
    assert len(page.records) == 2 * len(errors)
