"""Hooks that users write: Runtime, FailureHandler and CompletionHandler, and what becomes of them when they fail."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from docket_core import (
    AdmissionBlocked,
    CompletionHandler,
    CurrentExecution,
    Dependency,
    Docket,
    Execution,
    ExecutionCancelled,
    FailureHandler,
    Runtime,
    TaskOutcome,
)
from docket_core.dependencies import current_execution
from tests.support.workers import within, work_off

said: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    said.clear()


class Twice(Runtime["Twice"]):
    """Runs the body two times."""

    async def __aenter__(self) -> "Twice":
        return self

    async def run(
        self, execution: Execution, function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        return [await function(*args, **kwargs), await function(*args, **kwargs)]


class OnFailure(FailureHandler["OnFailure"]):
    """Does what the test says."""

    def __init__(self, do: Callable[[Execution, TaskOutcome], Awaitable[bool]]) -> None:
        self._do = do

    async def __aenter__(self) -> "OnFailure":
        return self

    async def handle_failure(self, execution: Execution, outcome: TaskOutcome) -> bool:
        return await self._do(execution, outcome)


class OnEnd(CompletionHandler["OnEnd"]):
    """Does what the test says."""

    def __init__(self, do: Callable[[Execution, TaskOutcome], Awaitable[bool]]) -> None:
        self._do = do

    async def __aenter__(self) -> "OnEnd":
        return self

    async def on_complete(self, execution: Execution, outcome: TaskOutcome) -> bool:
        return await self._do(execution, outcome)


async def note(execution: Execution, outcome: TaskOutcome) -> bool:
    said.append((execution.key, outcome.result, type(outcome.exception).__name__, outcome.duration >= timedelta(0)))
    return True


async def test_a_runtime_decides_how_the_body_is_run(docket: Docket) -> None:
    async def task(value: int, *, plus: int = 0, twice: Twice = Twice()) -> int:
        said.append(value)
        return value + plus

    execution = await docket.add(task)(5, plus=1)
    await work_off(docket)
    assert await execution.get_result() == [6, 6]
    assert said == [5, 5]


async def test_a_completion_handler_sees_every_end(docket: Docket) -> None:
    async def task(fail: bool, on_end: OnEnd = OnEnd(note)) -> str:
        if fail:
            raise ValueError
        return "result"

    await docket.add(task, key="good")(False)
    await docket.add(task, key="bad")(True)
    await work_off(docket, concurrency=1)
    assert said == [("good", "result", "NoneType", True), ("bad", None, "ValueError", True)]


async def test_a_failure_handler_may_let_it_run_again(docket: Docket) -> None:
    async def again(execution: Execution, outcome: TaskOutcome) -> bool:
        said.append(execution.attempt)
        if execution.attempt == 3:
            return False
        execution.attempt += 1
        execution.when = timedelta(milliseconds=1)
        await execution.schedule(replace=True)
        return True

    async def task(handler: OnFailure = OnFailure(again)) -> None:
        raise ValueError("final")

    execution = await docket.add(task)()
    await work_off(docket)
    assert said == [1, 2, 3]
    with pytest.raises(ValueError, match="final"):
        await execution.get_result()


async def test_a_handled_failure_is_recorded_but_not_logged(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    async def task(handler: OnFailure = OnFailure(note)) -> None:
        raise ValueError("quietly")

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(ValueError, match="quietly"):
        await execution.get_result()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_completion_handler_may_record_a_successor(docket: Docket) -> None:
    async def go_on(execution: Execution, outcome: TaskOutcome) -> bool:
        if len(said) < 3:
            await execution.schedule()
        return True

    async def task(on_end: OnEnd = OnEnd(go_on)) -> None:
        said.append(1)

    execution = await docket.add(task, key="k")()
    await work_off(docket)
    assert said == [1, 1, 1]
    with pytest.raises(Exception, match="another run"):
        await execution.get_result()


async def test_adds_of_other_keys_in_hooks_are_immediate(docket: Docket) -> None:
    async def follow(execution: Execution, outcome: TaskOutcome) -> bool:
        added = await docket.add("sleep", key="follower")(0)
        said.append(added.disposition.value)
        return True

    async def task(on_end: OnEnd = OnEnd(follow)) -> None: ...

    await docket.add(task)()
    await work_off(docket)
    assert said == ["scheduled"]
    follower = await docket.get_execution("follower")
    assert follower is not None
    await follower.get_result()


async def test_a_body_cannot_schedule_its_own_execution(docket: Docket) -> None:
    async def task(execution: Execution = CurrentExecution()) -> None:
        await execution.schedule()

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(RuntimeError, match="from its own body"):
        await execution.get_result()


@pytest.mark.parametrize(
    "error",
    [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError],
    ids=lambda e: e.__name__,
)
async def test_case_08_a_hook_that_raises_is_logged_and_the_verdict_stands(
    docket: Docket, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def raises(execution: Execution, outcome: TaskOutcome) -> bool:
        said.append(outcome.result)
        raise error("in a hook")

    async def good(on_end: OnEnd = OnEnd(raises)) -> str:
        return "good"

    async def bad(handler: OnFailure = OnFailure(raises)) -> str:
        raise OSError("bad")

    succeeded, failed = await docket.add(good)(), await docket.add(bad)()
    await work_off(docket, concurrency=1)
    assert await succeeded.get_result() == "good"
    with pytest.raises(OSError, match="bad"):
        await failed.get_result()
    assert set(said) == {"good", None}
    assert caplog.text.count("a hook of") == 2


async def test_a_failure_handler_is_not_asked_about_a_result_that_cannot_be_kept(docket: Docket) -> None:
    async def task(handler: OnFailure = OnFailure(note)) -> object:
        return (number for number in range(3))

    execution = await docket.add(task)()
    await work_off(docket)
    with pytest.raises(Exception, match="cannot be encoded"):
        await execution.get_result()
    assert said == []


class Closed(Dependency[None]):
    """Admits nobody until it is opened."""

    opened = False
    reschedule = True

    async def __aenter__(self) -> None:
        said.append("asked")
        if len(said) < 3:
            raise AdmissionBlocked(
                current_execution.get(), "closed", reschedule=self.reschedule, retry_delay=timedelta(milliseconds=5)
            )


class Shut(Closed):
    reschedule = False


async def test_a_run_that_is_not_admitted_comes_back_later_and_uses_up_no_attempt(docket: Docket) -> None:
    async def task(closed: None = Closed(), execution: Execution = CurrentExecution()) -> int:  # type: ignore[assignment]
        return execution.attempt

    execution = await docket.add(task)()
    await work_off(docket, max_deliveries=1)
    assert await execution.get_result() == 1
    assert said == ["asked"] * 3


async def test_a_run_that_is_refused_for_good_is_cancelled(docket: Docket) -> None:
    async def task(shut: None = Shut(), on_end: OnEnd = OnEnd(note)) -> None:  # type: ignore[assignment]
        said.append("body")

    execution = await docket.add(task, key="k")()
    await work_off(docket)
    with pytest.raises(ExecutionCancelled, match="closed"):
        await within(execution.get_result())
    assert said == ["asked", ("k", None, "AdmissionBlocked", True)]
