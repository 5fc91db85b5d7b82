"""What a task may ask for beside its arguments, and how it comes and goes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Annotated, Any

import pytest

from docket_core import (
    CallArgument,
    Cron,
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    Dependency,
    Depends,
    Docket,
    Execution,
    ExponentialRetry,
    Logged,
    Perpetual,
    Retry,
    Runtime,
    Shared,
    TaskArgument,
    TaskKey,
    TaskLogger,
    Timeout,
    Worker,
)
from docket_core.backend.kit import sleep
from docket_core.testing import AutoClock
from tests.support.moments import Log
from tests.support.workers import within, work_off

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


class Stamped(Dependency[str]):
    """Notes the parameter it is bound to."""

    def __init__(self, bound: str = "") -> None:
        self.bound = bound

    def bind_to_parameter(self, name: str, value: Any) -> "Stamped":
        return Stamped(f"{name}={value}")

    async def __aenter__(self) -> str:
        events.append(f"enter {self.bound}")
        return self.bound

    async def __aexit__(self, *error: object) -> None:
        events.append(f"exit {self.bound}")


@pytest.mark.requirement("R-040")
async def test_in_an_annotation_it_knows_its_parameter(docket: Docket) -> None:
    async def task(customer: Annotated[int, Stamped()], again: Annotated[str, Stamped] = "x") -> None:
        events.append("body")

    await docket.add(task)(5)
    await work_off(docket)
    assert events == ["enter customer=5", "enter again=None", "body", "exit again=None", "exit customer=5"]


@pytest.mark.requirement("R-040")
async def test_retry_perpetual_and_timeout_work_in_annotations(moving: Docket, auto: AutoClock) -> None:
    log = Log(moving)
    retry, every, timeout = Retry(attempts=2), Perpetual(every=timedelta(minutes=1)), Timeout(timedelta(seconds=5))

    async def task(name: Annotated[str, retry, every, timeout]) -> None:
        log.note(name)
        await sleep(auto, 10_000_000)

    await moving.add(task, key="k")("x")
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"k": 4}))
    assert log.notes == [(0, "x"), (5, "x"), (60 + 5, "x"), (60 + 10, "x")]


@pytest.mark.requirement("R-040", "R-036")
async def test_a_factory_in_an_annotation_gives_the_value(docket: Docket) -> None:
    async def task(value: Annotated[str, Depends(plain)]) -> str:
        return value

    execution = await docket.add(task)()  # type: ignore[call-arg]
    await work_off(docket)
    assert await execution.get_result() == "plain"


class Quick(Runtime["Quick"]):
    async def __aenter__(self) -> "Quick":
        return self

    async def run(self, execution: Execution, function: Any, *args: Any, **kwargs: Any) -> Any:
        return ["run by Quick", await function(*args, **kwargs)]


@pytest.mark.requirement("R-041")
async def test_one_of_a_kind(docket: Docket) -> None:
    async def retries(a: Retry = Retry(attempts=2), b: Retry = Retry(attempts=3)) -> None: ...
    async def failures(a: Retry = Retry(attempts=2), b: ExponentialRetry = ExponentialRetry(attempts=3)) -> None: ...
    async def chains(a: Perpetual = Perpetual(), b: Cron = Cron("@daily")) -> None: ...
    async def runtimes(a: Timeout = Timeout(timedelta(1)), b: Quick = Quick()) -> None: ...
    async def annotated(x: Annotated[int, Retry(attempts=2)], b: Retry = Retry(attempts=3)) -> None: ...

    for function, kind in (
        (retries, "Only one Retry dependency is allowed"),
        (failures, "Only one FailureHandler|Only one Retry"),
        (chains, "Only one CompletionHandler|Only one Perpetual"),
        (runtimes, "Only one Runtime dependency is allowed, but found: Timeout, Quick"),
        (annotated, "Only one Retry dependency is allowed"),
    ):
        with pytest.raises(ValueError, match=kind):
            docket.register(function)
        with pytest.raises(ValueError, match=kind):
            docket.add(function)  # type: ignore[arg-type]
        assert function.__name__ not in docket.tasks


@pytest.mark.requirement("R-041", "R-051")
async def test_a_runtime_of_ones_own_runs_the_body(docket: Docket) -> None:
    async def task(value: int, quick: Quick = Quick()) -> int:
        return value

    execution = await docket.add(task)(3)
    await work_off(docket)
    assert await execution.get_result() == ["run by Quick", 3]


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
