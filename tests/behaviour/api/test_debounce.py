"""Of a row of calls the first runs, once it has been quiet."""

from datetime import timedelta

import pytest

from docket_core import Cooldown, CurrentExecution, Debounce, Docket, Execution, ExecutionCancelled, Retry
from docket_core.backend.clock import SECOND
from docket_core.backend.kit import sleep
from docket_core.backend.model import Ack, Claim, Permit, PermitRequest, PermitStatus
from tests.support.moments import MINUTE, Log
from tests.support.workers import work_off

FIVE = timedelta(seconds=5)


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.mark.requirement("R-063")
async def test_the_first_of_a_row_runs_after_quiet(moving: Docket) -> None:
    log = Log(moving)

    async def settled(name: str, debounce: Debounce = Debounce(FIVE)) -> None:
        log.note(name)

    executions = [
        await moving.add(settled, when=after(seconds))(name)
        for seconds, name in ((0, "first"), (3, "second"), (7, "third"), (30, "alone"))
    ]
    await work_off(moving)
    assert log.notes == [(12, "first"), (35, "alone")]
    for dropped in executions[1:3]:
        with pytest.raises(ExecutionCancelled, match="debounce"):
            await dropped.get_result()


@pytest.mark.requirement("R-063")
async def test_a_call_during_the_run_begins_a_new_row(moving: Docket) -> None:
    log = Log(moving)

    async def settled(name: str, debounce: Debounce = Debounce(FIVE)) -> None:
        log.note(name)
        if name == "first":
            await moving.add(settled)("next")

    await moving.add(settled)("first")
    await work_off(moving)
    assert log.notes == [(5, "first"), (10, "next")]


@pytest.mark.requirement("R-063")
async def test_retries_are_free(moving: Docket) -> None:
    log = Log(moving)

    async def flaky(retry: Retry = Retry(attempts=3, delay=after(1)), debounce: Debounce = Debounce(FIVE)) -> None:
        log.note(f"attempt {retry.attempt}")
        if retry.attempt < 3:
            raise ValueError

    await moving.add(flaky)()
    await work_off(moving)
    assert log.notes == [(5, "attempt 1"), (6, "attempt 2"), (7, "attempt 3")]


@pytest.mark.requirement("R-063")
async def test_rows_are_apart_by_scope(moving: Docket) -> None:
    log = Log(moving)

    async def left(debounce: Debounce = Debounce(FIVE)) -> None:
        log.note("left")

    async def right(debounce: Debounce = Debounce(FIVE)) -> None:
        log.note("right")

    async def one(debounce: Debounce = Debounce(FIVE, scope="both")) -> None:
        log.note("one")

    async def two(debounce: Debounce = Debounce(FIVE, scope="both")) -> None:
        log.note("two")

    for seconds, task in ((0, left), (1, right), (2, one), (3, two)):
        await moving.add(task, when=after(seconds))()
    await work_off(moving)
    assert log.notes == [(5, "left"), (6, "right"), (8, "one")]


@pytest.mark.requirement("R-063")
async def test_a_cancelled_first_leaves_the_row_to_the_next(moving: Docket) -> None:
    log = Log(moving)

    async def settled(name: str, debounce: Debounce = Debounce(FIVE)) -> None:
        log.note(name)

    async def cancel() -> None:
        await moving.cancel("first")

    await moving.add(settled, key="first")("first")
    await moving.add(cancel, when=after(1))()
    await moving.add(settled, when=after(2))("second")
    await work_off(moving)
    assert log.notes == [(7, "second")]


async def crashing(debounce: Debounce = Debounce(FIVE), execution: Execution = CurrentExecution()) -> bool:
    return execution.redelivered


@pytest.mark.requirement("R-064")
async def test_a_run_lost_after_settling_is_run_again_without_settling(moving: Docket) -> None:
    log = Log(moving)
    execution = await moving.add(crashing)()
    await _settle_and_die(moving, log)
    await work_off(moving)
    assert await execution.get_result() is True
    assert log.seconds == 5 + 10, "at its lease's end, and not settling once more"


@pytest.mark.requirement("R-064")
async def test_a_body_that_kills_its_worker_is_given_up(moving: Docket) -> None:
    execution = await moving.add(crashing)()
    log = Log(moving)
    await _settle_and_die(moving, log)
    await work_off(moving, max_deliveries=1)
    await execution.sync()
    assert execution.state.value == "failed"


async def _settle_and_die(docket: Docket, log: Log) -> None:
    """What a worker does up to the body, as long as it takes; then it is never heard of again."""
    debounce = Debounce(FIVE)
    clock = docket.clock

    async def take() -> tuple[Claim, PermitRequest, Permit]:
        claim = (await docket.backend.claim("dead", {"crashing"}, 1, 10 * SECOND)).claims[0]
        request = debounce.permit(claim, "debounce:crashing")
        return claim, request, (await docket.backend.acquire([request]))[0]

    claim, request, permit = await take()
    assert permit.status is PermitStatus.GRANTED
    assert permit.until is not None
    await docket.backend.ack([Ack.postpone(claim, when=permit.until)])
    await sleep(clock, permit.until - clock.now())
    claim, request, permit = await take()
    assert permit.status is PermitStatus.LAPSED
    await docket.backend.release([request])
    assert log.seconds == 5


@pytest.mark.requirement("R-063", "R-065")
async def test_a_debounced_task_starts_its_cooldown_when_it_runs(moving: Docket) -> None:
    """The permits of the other limits are given back while it settles."""
    log = Log(moving)

    async def both(name: str, cooldown: Cooldown = Cooldown(MINUTE), debounce: Debounce = Debounce(FIVE)) -> None:
        log.note(name)

    for seconds, name in ((0, "a"), (40, "b"), (64, "c"), (65, "d")):
        await moving.add(both, when=after(seconds))(name)
    await work_off(moving)
    assert log.notes == [(5, "a"), (70, "d")]


@pytest.mark.requirement("R-041", "R-063")
def test_two_on_one_task_are_refused() -> None:
    async def twice(one: Debounce = Debounce(FIVE), two: Debounce = Debounce(MINUTE)) -> None: ...

    with pytest.raises(ValueError, match="Only one Debounce"):
        Docket(url="memory://unused").register(twice)


@pytest.mark.requirement("R-063")
def test_a_time_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="the time to settle is positive"):
        Debounce(timedelta(0))
