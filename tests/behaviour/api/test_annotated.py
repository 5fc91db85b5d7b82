"""Dependencies in annotations, and kinds of which a task may have one."""

from datetime import timedelta
from typing import Annotated, Any

import pytest

from docket_core import (
    Cron,
    Dependency,
    Depends,
    Docket,
    Execution,
    ExponentialRetry,
    Perpetual,
    Retry,
    Runtime,
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
            docket.add(function)
        assert function.__name__ not in docket.tasks


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

    docket.register(task)
    execution = await docket.add("task")()
    await work_off(docket)
    assert await execution.get_result() == "plain"


@pytest.mark.requirement("R-041", "R-051")
async def test_a_runtime_of_ones_own_runs_the_body(docket: Docket) -> None:
    async def task(value: int, quick: Quick = Quick()) -> int:
        return value

    execution = await docket.add(task)(3)
    await work_off(docket)
    assert await execution.get_result() == ["run by Quick", 3]
