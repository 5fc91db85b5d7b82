"""What a task may ask for beside its arguments, and how it comes and goes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import pytest

from docket_core import (
    CallArgument,
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    Depends,
    Docket,
    Execution,
    Logged,
    Retry,
    Shared,
    TaskArgument,
    TaskKey,
    TaskLogger,
    Worker,
)
from tests.support.workers import work_off

events: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    events.clear()


def plain() -> str:
    events.append("plain made")
    return "plain"


async def awaited() -> str:
    return "awaited"


@contextmanager
def managed(inner: str = Depends(plain)) -> Generator[str, None, None]:
    events.append("managed opens")
    yield f"managed {inner}"
    events.append("managed closes")


@asynccontextmanager
async def async_managed(inner: str = Depends(managed), again: str = Depends(plain)) -> AsyncGenerator[str, None]:
    events.append("async opens")
    yield f"async {inner} {again}"
    events.append("async closes")


@pytest.mark.requirement("R-036")
async def test_every_kind_of_factory_nested_made_once_closed_in_reverse(docket: Docket) -> None:
    async def task(
        first: str = Depends(async_managed),
        second: str = Depends(managed),
        third: str = Depends(awaited),
        fourth: str = Depends(plain),
    ) -> list[str]:
        events.append("body")
        return [first, second, third, fourth]

    execution = await docket.add(task)()
    await work_off(docket)
    assert await execution.get_result() == ["async managed plain plain", "managed plain", "awaited", "plain"]
    assert events == [
        "plain made",
        "managed opens",
        "async opens",
        "body",
        "async closes",
        "managed closes",
    ]


@pytest.mark.requirement("R-036")
async def test_a_value_is_made_anew_for_every_task(docket: Docket) -> None:
    async def task(value: str = Depends(plain)) -> None: ...

    for _ in range(3):
        await docket.add(task)()
    await work_off(docket)
    assert events == ["plain made"] * 3


@pytest.mark.requirement("R-036")
async def test_a_context_manager_sees_the_failure_of_the_body(docket: Docket) -> None:
    @contextmanager
    def transaction() -> Generator[None, None, None]:
        try:
            yield
        except ValueError:
            events.append("rolled back")
            raise

    async def task(tx: None = Depends(transaction)) -> None:
        raise ValueError("no")

    execution = await docket.add(task)()
    await work_off(docket)
    assert events == ["rolled back"]
    with pytest.raises(ValueError, match="no"):
        await execution.get_result()


@pytest.mark.requirement("R-036")
async def test_a_given_argument_takes_the_place_of_a_dependency(docket: Docket) -> None:
    async def task(value: str = Depends(plain)) -> str:
        return value

    execution = await docket.add(task)(value="given")
    await work_off(docket)
    assert await execution.get_result() == "given"
    assert events == []


@pytest.mark.requirement("R-037")
async def test_failures_are_gathered_in_one_group_that_names_the_parameters(docket: Docket) -> None:
    def no_database() -> None:
        raise ConnectionError("no database")

    async def no_mail() -> None:
        raise LookupError("no mail")

    async def task(db: None = Depends(no_database), ok: str = Depends(plain), mail: None = Depends(no_mail)) -> None:
        events.append("body")

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(ExceptionGroup, match="dependencies could not be resolved: db, mail") as group:
        await execution.get_result()
    assert [type(error) for error in group.value.exceptions] == [ConnectionError, LookupError]
    assert "body" not in events


@pytest.mark.requirement("R-037", "R-042")
async def test_a_dependency_that_fails_is_tried_again(docket: Docket) -> None:
    def moody() -> str:
        events.append("tried")
        if len(events) < 3:
            raise ConnectionError("not yet")
        return "fine"

    async def task(value: str = Depends(moody), retry: Retry = Retry(attempts=5)) -> str:
        return f"{value} at attempt {retry.attempt}"

    execution = await docket.add(task)()
    await work_off(docket)
    assert await execution.get_result() == "fine at attempt 3"


@pytest.mark.requirement("R-038")
async def test_shared_is_made_once_per_worker_and_closed_at_its_end(docket: Docket) -> None:
    @asynccontextmanager
    async def pool(docket: Docket = CurrentDocket()) -> AsyncGenerator[str, None]:
        events.append("pool opens")
        await asyncio.sleep(0)
        yield f"pool of {docket.name}"
        events.append("pool closes")

    async def task(pool: str = Shared(pool)) -> str:
        return pool

    executions = [await docket.add(task)() for _ in range(5)]
    await work_off(docket, concurrency=5)
    assert [await execution.get_result() for execution in executions] == ["pool of orders"] * 5
    assert events == ["pool opens", "pool closes"]
    await docket.add(task)()
    await work_off(docket)
    assert events == ["pool opens", "pool closes"] * 2


@pytest.mark.requirement("R-039")
async def test_where_a_task_stands(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    def inner(
        customer: int = TaskArgument(),
        renamed: int = TaskArgument("customer"),
        absent: object = TaskArgument("nothing", optional=True),
        called: int = CallArgument("customer"),
        key: str = TaskKey(),
    ) -> list[object]:
        return [customer, renamed, absent, called, key]

    async def task(
        customer: int,
        here: Docket = CurrentDocket(),
        worker: Worker = CurrentWorker(),
        execution: Execution = CurrentExecution(),
        key: str = TaskKey(),
        logger: logging.LoggerAdapter[logging.Logger] = TaskLogger(),
        nested: list[object] = Depends(inner),
    ) -> list[object]:
        logger.warning("hello", extra={"mine": 1})
        assert here is docket
        assert execution.token is not None
        return [worker.name, execution.key, key, nested]

    execution = await docket.add(task, key="k")(7)
    await work_off(docket, name="the worker")
    assert await execution.get_result() == ["the worker", "k", "k", [7, 7, None, 7, "k"]]
    record: Any = next(record for record in caplog.records if record.getMessage() == "hello")
    assert record.name == "docket.task.task"
    assert (record.mine, getattr(record, "docket.key"), getattr(record, "docket.task")) == (1, "k", "task")


@pytest.mark.requirement("R-039")
async def test_an_argument_that_is_not_there_is_an_error(docket: Docket) -> None:
    def inner(nothing: object = TaskArgument()) -> object:
        return nothing

    async def task(value: object = Depends(inner)) -> None: ...

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(ExceptionGroup, match="value") as group:
        await execution.get_result()
    assert isinstance(group.value.exceptions[0], KeyError)


@pytest.mark.requirement("R-035")
@pytest.mark.parametrize("named", [True, False])
async def test_a_worker_wide_dependency_is_around_every_task(docket: Docket, named: bool) -> None:
    @contextmanager
    def around(key: str = TaskKey()) -> Generator[None, None, None]:
        events.append(f"before {key}")
        yield
        events.append(f"after {key}")

    async def bare() -> None:
        events.append("body")

    await docket.add(bare, key="a")()
    await docket.add(bare, key="b")()
    dependency: Any = Depends(around)
    await work_off(docket, concurrency=1, dependencies={"around": dependency} if named else [dependency])
    assert events == ["before a", "body", "after a", "before b", "body", "after b"]


@pytest.mark.requirement("R-079")
async def test_logs_show_what_is_marked(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async def send(
        to: Annotated[str, Logged()], text: str, copies: Annotated[list[str], Logged(length_only=True)], *, cc: str = ""
    ) -> None: ...

    with caplog.at_level(logging.INFO):
        await docket.add(send, key="k")("ann", "very private", ["a", "b"], cc="secret")
        await work_off(docket)
    shown = "send('ann', ..., <list of length 2>, cc=...){k}"
    lines = [record.getMessage() for record in caplog.records if shown in record.getMessage()]
    assert len(lines) == 2, "its start and its end"
    assert "private" not in caplog.text
    assert "secret" not in caplog.text
