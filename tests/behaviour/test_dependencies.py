"""What tasks declare beside their arguments: resolved once, nested, closed in reverse, failing together."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import pytest

from docket_core import (
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    Dependency,
    Depends,
    Docket,
    Execution,
    ExecutionFailed,
    Retry,
    Shared,
    TaskArgument,
    TaskKey,
    TaskLogger,
    Worker,
)
from docket_core.dependencies import current_docket, current_execution, current_worker
from tests.support.workers import work_off

seen: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    seen.clear()


def plain() -> str:
    seen.append("plain")
    return "plain"


async def awaited() -> str:
    return "awaited"


@contextmanager
def entered() -> Generator[str, None, None]:
    seen.append("enter 1")
    yield "entered"
    seen.append("leave 1")


@asynccontextmanager
async def async_entered(inner: str = Depends(entered), again: str = Depends(plain)) -> AsyncGenerator[str, None]:
    seen.append("enter 2")
    try:
        yield f"async {inner} {again}"
    finally:
        seen.append("leave 2")


async def test_every_kind_of_factory_nested_cached_and_closed_in_reverse(docket: Docket) -> None:
    async def task(
        one: str = Depends(plain),
        two: str = Depends(awaited),
        three: str = Depends(async_entered),
        again: str = Depends(plain),
    ) -> list[str]:
        seen.append("body")
        return [one, two, three, again]

    execution = await docket.add(task)()
    await work_off(docket)
    assert await execution.get_result() == ["plain", "awaited", "async entered plain", "plain"]
    assert seen == ["plain", "enter 1", "enter 2", "body", "leave 2", "leave 1"]


async def test_they_are_resolved_anew_for_every_run(docket: Docket) -> None:
    async def task(one: str = Depends(plain), retry: Retry = Retry(attempts=3)) -> None:
        raise ValueError

    await docket.add(task)()
    await work_off(docket)
    assert seen == ["plain"] * 3


async def test_a_failing_body_closes_them_too(docket: Docket) -> None:
    async def task(one: str = Depends(async_entered)) -> None:
        raise ValueError("body")

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(ValueError, match="body"):
        await execution.get_result()
    assert seen == ["enter 1", "plain", "enter 2", "leave 2"]


async def test_failures_are_gathered_in_one_group_that_names_the_parameters(docket: Docket) -> None:
    def broken() -> str:
        raise KeyError("first")

    async def also_broken() -> str:
        raise OSError("second")

    async def task(one: str = Depends(broken), fine: str = Depends(plain), two: str = Depends(also_broken)) -> None:
        seen.append("body")

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(ExceptionGroup) as raised:
        await execution.get_result()
    assert "one, two" in str(raised.value)
    assert [type(error) for error in raised.value.exceptions] == [KeyError, OSError]
    assert "body" not in seen


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("where", ["enter", "leave"])
async def test_case_08_what_a_dependency_raises_ends_its_task_only(
    docket: Docket, error: type[BaseException], where: str
) -> None:
    @asynccontextmanager
    async def hostile() -> AsyncGenerator[None, None]:
        if where == "enter":
            raise error
        yield
        raise error

    async def task(hostile: None = Depends(hostile)) -> None: ...

    execution, healthy = await docket.add(task)(), await docket.add("sleep")(0)
    await work_off(docket, concurrency=1)
    await healthy.get_result()
    with pytest.raises(ExecutionFailed if error is not asyncio.CancelledError else Exception):
        await execution.get_result()


async def test_a_dependency_that_fails_is_tried_again(docket: Docket) -> None:
    async def flaky() -> str:
        seen.append(1)
        if len(seen) < 3:
            raise OSError
        return "at last"

    async def task(value: str = Depends(flaky), retry: Retry = Retry(attempts=3)) -> str:
        return value

    execution = await docket.add(task)()
    await work_off(docket)
    assert await execution.get_result() == "at last"


async def test_where_a_task_stands(docket: Docket) -> None:
    async def task(
        a_docket: Docket = CurrentDocket(),
        worker: Worker = CurrentWorker(),
        execution: Execution = CurrentExecution(),
        key: str = TaskKey(),
        logger: "logging.LoggerAdapter[logging.Logger]" = TaskLogger(),
    ) -> None:
        assert (a_docket, worker.name, key) == (docket, "w", "k")
        assert (current_docket.get(), current_worker.get(), current_execution.get()) == (docket, worker, execution)
        seen.append((execution.key, execution.worker, execution.state.value, execution.attempt))
        logger.info("hello from %s", key)

    with_logs: list[logging.LogRecord] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with_logs.append(record)

    handler = Keeps()
    logging.getLogger("docket.task.task").addHandler(handler)
    logging.getLogger("docket.task.task").setLevel(logging.INFO)
    execution = await docket.add(task, key="k")()
    await work_off(docket, name="w")
    await execution.get_result()
    assert seen == [("k", "w", "running", 1)]
    assert with_logs[0].getMessage() == "hello from k"
    assert vars(with_logs[0])["docket.key"] == "k"


async def test_a_dependency_sees_the_tasks_arguments(docket: Docket) -> None:
    async def by_name(customer: str = TaskArgument()) -> str:
        return customer.upper()

    async def renamed(who: str = TaskArgument("customer"), missing: str = TaskArgument("nobody", optional=True)) -> Any:
        return who, missing

    async def task(customer: str = "nobody", one: str = Depends(by_name), two: Any = Depends(renamed)) -> Any:
        return one, two

    given, default = await docket.add(task)("ann"), await docket.add(task)()
    await work_off(docket)
    assert await given.get_result() == ("ANN", ("ann", None))
    assert await default.get_result() == ("NOBODY", ("nobody", None))


async def test_a_missing_argument_fails_its_task(docket: Docket) -> None:
    async def needs(nobody: str = TaskArgument()) -> str:
        return nobody

    async def task(one: str = Depends(needs)) -> None: ...

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(ExceptionGroup, match="one"):
        await execution.get_result()


async def test_a_dependency_can_be_given_in_the_call(docket: Docket) -> None:
    async def task(one: str = Depends(plain)) -> str:
        return one

    execution = await docket.add(task)(one="given")
    await work_off(docket)
    assert await execution.get_result() == "given"
    assert seen == []


async def test_shared_is_made_once_per_worker_and_closed_with_it(docket: Docket, other: Docket) -> None:
    @asynccontextmanager
    async def pool(docket: Docket = CurrentDocket()) -> AsyncGenerator[object, None]:
        seen.append("open")
        await asyncio.sleep(0.01)
        yield object()
        seen.append("close")

    async def task(number: int, one: object = Shared(pool), two: object = Shared(pool)) -> bool:
        return one is two

    docket.register(task)
    other.register(task)
    executions = await docket.add_many([docket.call(task)(number) for number in range(10)])
    await work_off(docket)
    assert seen == ["open", "close"]
    assert all([await execution.get_result() for execution in executions])
    await docket.add(task)(0)
    await work_off(other)
    assert seen == ["open", "close"] * 2


async def test_a_shared_one_that_fails_is_tried_again_by_the_next_task(docket: Docket) -> None:
    def pool() -> str:
        seen.append("open")
        if len(seen) == 1:
            raise OSError("not yet")
        return "pool"

    async def task(pool: str = Shared(pool)) -> str:
        return pool

    first, second = await docket.add(task)(), await docket.add(task)()
    await work_off(docket, concurrency=1)
    outcomes = [await execution.get_result() for execution in (second,)]
    assert outcomes == ["pool"]
    with pytest.raises(ExceptionGroup):
        await first.get_result()


class Marks(Dependency["Marks"]):
    """Bound to the parameter that it is annotated on."""

    def __init__(self, name: str = "", value: object = None) -> None:
        self.name, self.value = name, value

    def bind_to_parameter(self, name: str, value: object) -> "Marks":
        return Marks(name, value)

    async def __aenter__(self) -> "Marks":
        seen.append((self.name, self.value))
        return self


async def test_an_annotated_dependency_is_bound_to_its_parameter(docket: Docket) -> None:
    async def task(order: Annotated[int, Marks()], *, note: Annotated[str, Marks()] = "none") -> int:
        return order

    execution = await docket.add(task)(7, note="urgent")
    await work_off(docket)
    assert await execution.get_result() == 7
    assert seen == [("order", 7), ("note", "urgent")]
