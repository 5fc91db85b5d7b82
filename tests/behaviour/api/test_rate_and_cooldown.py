"""How many starts within a time: others wait, or are dropped."""

from datetime import timedelta

import pytest

from docket_core import ConcurrencyLimit, Cooldown, Docket, ExecutionCancelled, ExecutionState, RateLimit, Retry
from docket_core.backend.model import CancelReply
from docket_core.execution import Execution
from tests.support.moments import MINUTE, Log
from tests.support.workers import work_off

TEN = timedelta(seconds=10)


async def states(executions: list[Execution]) -> list[str]:
    for execution in executions:
        await execution.sync()
    return [execution.state.value for execution in executions]


@pytest.mark.requirement("R-060")
async def test_so_many_starts_in_any_window(moving: Docket) -> None:
    log = Log(moving)

    async def limited(name: str, limit: RateLimit = RateLimit(2, per=MINUTE)) -> None:
        log.note(name)

    for name in "abcde":
        await moving.add(limited)(name)
    await work_off(moving)
    assert log.notes == [(0, "a"), (0, "b"), (60, "c"), (60, "d"), (120, "e")]


@pytest.mark.requirement("R-060")
async def test_the_window_slides(moving: Docket) -> None:
    log = Log(moving)

    async def limited(name: str, limit: RateLimit = RateLimit(2, per=MINUTE)) -> None:
        log.note(name)

    for seconds, name in ((0, "a"), (50, "b"), (55, "c"), (58, "d")):
        await moving.add(limited, when=timedelta(seconds=seconds))(name)
    await work_off(moving)
    assert log.notes == [(0, "a"), (50, "b"), (60, "c"), (110, "d")]


@pytest.mark.requirement("R-060")
async def test_what_finds_no_place_can_be_dropped(moving: Docket) -> None:
    log = Log(moving)

    async def limited(name: str, limit: RateLimit = RateLimit(1, per=MINUTE, drop=True)) -> None:
        log.note(name)

    executions = [
        await moving.add(limited, when=timedelta(seconds=seconds))(name)
        for seconds, name in ((0, "a"), (59, "dropped"), (60, "b"))
    ]
    await work_off(moving)
    assert log.notes == [(0, "a"), (60, "b")]
    assert await states(executions) == ["completed", "cancelled", "completed"]
    with pytest.raises(ExecutionCancelled, match="rate"):
        await executions[1].get_result()


@pytest.mark.requirement("R-060")
async def test_functions_share_a_rate_by_scope_and_only_so(moving: Docket) -> None:
    log = Log(moving)

    async def first(limit: RateLimit = RateLimit(1, per=MINUTE, scope="api")) -> None:
        log.note("first")

    async def second(limit: RateLimit = RateLimit(1, per=MINUTE, scope="api")) -> None:
        log.note("second")

    async def alone(limit: RateLimit = RateLimit(1, per=MINUTE)) -> None:
        log.note("alone")

    await moving.add(first)()
    await moving.add(second, when=timedelta(seconds=1))()
    await moving.add(alone, when=timedelta(seconds=2))()
    await work_off(moving)
    assert log.notes == [(0, "first"), (2, "alone"), (60, "second")]


@pytest.mark.requirement("R-061")
async def test_a_retry_counts(moving: Docket) -> None:
    log = Log(moving)

    async def flaky(retry: Retry = Retry(attempts=2), limit: RateLimit = RateLimit(1, per=MINUTE)) -> None:
        log.note(f"attempt {retry.attempt}")
        if retry.attempt == 1:
            raise ValueError

    await moving.add(flaky)()
    await work_off(moving)
    assert log.notes == [(0, "attempt 1"), (60, "attempt 2")]


async def limited_twice(name: str, limit: RateLimit = RateLimit(2, per=10 * MINUTE)) -> str:
    return name


@pytest.mark.requirement("R-061")
async def test_a_redelivery_does_not_count(moving: Docket) -> None:
    """The first holder's worker dies after it was admitted; its task and one other still fit into the window."""
    log = Log(moving)
    first = await moving.add(limited_twice)("a")
    await _admit_and_die(moving, "limited_twice", RateLimit(2, per=10 * MINUTE))
    second = await moving.add(limited_twice)("b")
    third = await moving.add(limited_twice)("c")
    await work_off(moving)
    for execution in (first, second, third):
        await execution.sync()
    assert [execution.state for execution in (first, second, third)] == [ExecutionState.COMPLETED] * 3
    assert log.seconds == 600, "c waits for the window of a, which counted once"
    assert first.completed_at is not None
    assert third.completed_at is not None
    assert third.completed_at - first.completed_at == 10 * MINUTE - TEN


async def _admit_and_die(docket: Docket, function: str, limit: RateLimit | Cooldown) -> None:
    """Take a task and its permit as a worker does, and never be heard of again."""
    lease = int(TEN.total_seconds() * 1_000_000)
    claim = (await docket.backend.claim("dead", {function}, 1, lease)).claims[0]
    await docket.backend.acquire([limit.permit(claim, f"{limit.kind}:{function}")])


@pytest.mark.requirement("R-062")
async def test_what_starts_within_the_window_is_dropped(moving: Docket) -> None:
    log = Log(moving)

    async def cooled(name: str, cooldown: Cooldown = Cooldown(MINUTE)) -> None:
        log.note(name)

    executions = [
        await moving.add(cooled, when=timedelta(seconds=seconds))(name)
        for seconds, name in ((0, "a"), (30, "x"), (59, "y"), (60, "b"), (61, "z"))
    ]
    await work_off(moving)
    assert log.notes == [(0, "a"), (60, "b")]
    assert await states(executions) == ["completed", "cancelled", "cancelled", "completed", "cancelled"]


@pytest.mark.requirement("R-062")
async def test_retries_are_free_of_the_cooldown(moving: Docket) -> None:
    log = Log(moving)

    async def flaky(retry: Retry = Retry(attempts=3, delay=TEN), cooldown: Cooldown = Cooldown(MINUTE)) -> None:
        log.note(f"attempt {retry.attempt}")
        if retry.attempt < 3:
            raise ValueError

    execution = await moving.add(flaky)()
    await work_off(moving)
    await execution.get_result()
    assert log.notes == [(0, "attempt 1"), (10, "attempt 2"), (20, "attempt 3")]


async def cooled_once(cooldown: Cooldown = Cooldown(MINUTE)) -> None: ...


@pytest.mark.requirement("R-062")
async def test_a_redelivery_is_not_dropped_by_its_own_start(moving: Docket) -> None:
    execution = await moving.add(cooled_once)()
    await _admit_and_die(moving, "cooled_once", Cooldown(MINUTE))
    await work_off(moving)
    await execution.sync()
    assert execution.state is ExecutionState.COMPLETED


@pytest.mark.requirement("R-062")
async def test_functions_share_a_cooldown_by_scope(moving: Docket) -> None:
    log = Log(moving)

    async def first(cooldown: Cooldown = Cooldown(MINUTE, scope="mail")) -> None:
        log.note("first")

    async def second(cooldown: Cooldown = Cooldown(MINUTE, scope="mail")) -> None:
        log.note("second")

    await moving.add(first)()
    await moving.add(second, when=timedelta(seconds=1))()
    await work_off(moving)
    assert log.texts == ["first"]


@pytest.mark.requirement("R-060")
async def test_a_waiting_task_can_be_cancelled(moving: Docket) -> None:
    log = Log(moving)

    async def limited(name: str, limit: RateLimit = RateLimit(1, per=MINUTE)) -> None:
        log.note(name)
        if name == "a":
            replies.append(await moving.cancel("b"))

    replies: list[CancelReply] = []
    await moving.add(limited, key="a")("a")
    await moving.add(limited, key="b", when=timedelta(seconds=1))("b")
    await moving.add(limited, key="c", when=timedelta(seconds=2))("c")
    await work_off(moving)
    assert replies == [CancelReply.CANCELLED]
    assert log.notes == [(0, "a"), (60, "c")]


@pytest.mark.requirement("R-060", "R-062")
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: RateLimit(0, per=MINUTE), "at least one start"),
        (lambda: RateLimit(1, per=timedelta(0)), "the window of a rate limit is positive"),
        (lambda: Cooldown(timedelta(seconds=-1)), "the window of a cooldown is positive"),
        (lambda: ConcurrencyLimit(max_concurrent=0), "at least one task"),
    ],
)
def test_limits_that_make_no_sense_are_refused(make, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=why):
        make()
