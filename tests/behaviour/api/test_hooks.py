"""Hooks: told of failures and ends, and what they may do about them."""

from datetime import timedelta

import pytest

from docket_core import (
    CompletionHandler,
    Docket,
    Execution,
    ExecutionState,
    FailureHandler,
    TaskOutcome,
)
from tests.support.moments import Log
from tests.support.workers import work_off

TEN = timedelta(seconds=10)

told: list[TaskOutcome] = []


class Handled(FailureHandler["Handled"]):
    async def __aenter__(self) -> "Handled":
        return self

    async def handle_failure(self, execution: Execution, outcome: TaskOutcome) -> bool:
        told.append(outcome)
        return True


class Noted(CompletionHandler["Noted"]):
    async def __aenter__(self) -> "Noted":
        return self

    async def on_complete(self, execution: Execution, outcome: TaskOutcome) -> bool:
        told.append(outcome)
        return False


class Followed(CompletionHandler["Followed"]):
    """Adds another task, records what follows its own, and breaks."""

    async def __aenter__(self) -> "Followed":
        return self

    async def on_complete(self, execution: Execution, outcome: TaskOutcome) -> bool:
        if execution.get_argument("number") == 1:
            await execution.docket.add(execution.function_name)(100)
            successor = Execution(execution.docket, execution.function, (2,), {}, execution.key, TEN)
            successor.grant = execution.grant
            await successor.schedule()
        raise LookupError("and then it breaks")


@pytest.mark.requirement("R-051")
async def test_a_handled_failure_is_not_logged_but_recorded(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    told.clear()

    async def go_wrong(handled: Handled = Handled()) -> None:
        raise ValueError("known trouble")

    execution = await docket.add(go_wrong)()
    await work_off(docket)
    await execution.sync()
    assert execution.state is ExecutionState.FAILED
    assert isinstance(told[0].exception, ValueError)
    assert told[0].duration >= timedelta(0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.requirement("R-051")
async def test_a_hook_at_the_end_is_told_how_it_ended(docket: Docket) -> None:
    told.clear()

    async def either(good: bool, noted: Noted = Noted()) -> str:
        if not good:
            raise ValueError("bad")
        return "good"

    await docket.add(either)(True)
    await work_off(docket)
    await docket.add(either)(False)
    await work_off(docket)
    assert (told[0].result, told[0].exception) == ("good", None)
    assert (told[1].result, str(told[1].exception)) == (None, "bad")


@pytest.mark.requirement("R-052")
async def test_a_hook_records_what_follows_and_what_it_raises_changes_nothing(
    moving: Docket, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(moving)

    async def step(number: int, followed: Followed = Followed()) -> int:
        log.note(str(number))
        return number

    execution = await moving.add(step, key="k")(1)
    await work_off(moving, concurrency=1)
    assert log.notes == [(0, "1"), (0, "100"), (10, "2")]
    await execution.sync()
    found = await moving.get_execution("k")
    assert found is not None
    assert await found.get_result() == 2
    assert "and then it breaks" in caplog.text
