"""Several limits on one task, and limits on tasks that go on: all or nothing, and no chain ends by a denial."""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated

import pytest

from docket_core import (
    AdmissionBlocked,
    ConcurrencyLimit,
    Cooldown,
    Cron,
    CurrentExecution,
    Debounce,
    Depends,
    Docket,
    Execution,
    ExecutionCancelled,
    ExecutionState,
    Perpetual,
    RateLimit,
    Worker,
)
from docket_core.errors import ConfigurationError
from tests.support.moments import MINUTE, Log
from tests.support.workers import within, work_off, working

SECOND = timedelta(seconds=1)


@pytest.mark.requirement("R-065")
async def test_who_waits_at_one_gate_holds_no_permit_of_another(moving: Docket) -> None:
    """b waits for a's slot; meanwhile it must not have used up the rate that c needs."""
    log = Log(moving)
    release = asyncio.Event()

    async def both(
        name: str,
        slot: ConcurrencyLimit = ConcurrencyLimit(scope="slot"),
        rate: RateLimit = RateLimit(2, per=MINUTE, scope="rate"),
    ) -> None:
        log.note(name)
        if name == "a":
            await release.wait()

    async def only_rate(name: str, rate: RateLimit = RateLimit(2, per=MINUTE, scope="rate")) -> None:
        log.note(name)
        release.set()

    await moving.add(both)("a")
    await moving.add(both, when=SECOND)("b")
    await moving.add(only_rate, when=2 * SECOND)("c")
    await work_off(moving)
    assert log.notes == [(0, "a"), (2, "c"), (60, "b")]


@pytest.mark.requirement("R-065")
async def test_a_drop_by_one_limit_uses_up_nothing_of_another(moving: Docket) -> None:
    log = Log(moving)

    async def both(
        name: str, rate: RateLimit = RateLimit(2, per=10 * MINUTE), cooldown: Cooldown = Cooldown(MINUTE)
    ) -> None:
        log.note(name)

    for seconds, name in ((0, "a"), (10, "dropped"), (70, "b")):
        await moving.add(both, when=timedelta(seconds=seconds))(name)
    await work_off(moving)
    assert log.notes == [(0, "a"), (70, "b")]


@pytest.mark.requirement("R-065", "R-055")
async def test_limits_in_defaults_and_annotations_hold_together(moving: Docket) -> None:
    log = Log(moving)

    async def both(
        customer: Annotated[int, ConcurrencyLimit()], name: str, rate: RateLimit = RateLimit(2, per=MINUTE)
    ) -> None:
        log.note(name)

    for number, name in enumerate("abc"):
        await moving.add(both, when=number * SECOND)(1, name)
    await work_off(moving)
    assert log.notes == [(0, "a"), (1, "b"), (60, "c")]


@pytest.mark.requirement("R-066")
async def test_a_cooled_down_chain_goes_on(moving: Docket) -> None:
    log = Log(moving)

    async def chain(perpetual: Perpetual = Perpetual(every=40 * SECOND), cooldown: Cooldown = Cooldown(MINUTE)) -> None:
        log.note("ran")

    await moving.add(chain, key="chain")()
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"chain": 5}))
    assert log.notes == [(0, "ran"), (80, "ran"), (160, "ran")]


@pytest.mark.requirement("R-066")
async def test_a_dropped_cron_run_does_not_end_its_chain(moving: Docket) -> None:
    log = Log(moving)

    async def hourly(
        cron: Cron = Cron("@hourly"), rate: RateLimit = RateLimit(1, per=timedelta(hours=2), drop=True)
    ) -> None:
        log.note("ran")

    moving.register(hourly)
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"hourly": 5}))
    assert log.notes == [(3600, "ran"), (3 * 3600, "ran"), (5 * 3600, "ran")]


@pytest.mark.requirement("R-066")
async def test_a_debounced_chain_goes_on(moving: Docket) -> None:
    log = Log(moving)

    async def chain(perpetual: Perpetual = Perpetual(every=MINUTE), debounce: Debounce = Debounce(5 * SECOND)) -> None:
        log.note("ran")

    await moving.add(chain, key="chain")()
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"chain": 6}))  # settling is a run that begins anew
    assert len(log.notes) >= 2
    assert all(seconds == 5 + 65 * number for number, (seconds, _) in enumerate(log.notes))


@pytest.mark.requirement("R-053", "R-066")
async def test_a_chain_survives_a_dependency_that_drops_a_run(moving: Docket) -> None:
    log = Log(moving)
    asked: list[int] = []

    def every_other(execution: Execution = CurrentExecution()) -> int:
        asked.append(1)
        if len(asked) % 2 == 0:
            raise AdmissionBlocked(execution, "not this time", reschedule=False)
        return len(asked)

    async def chain(perpetual: Perpetual = Perpetual(every=MINUTE), turn: int = Depends(every_other)) -> None:
        log.note(str(turn))

    await moving.add(chain, key="chain")()
    async with Worker(moving) as worker:
        await within(worker.run_at_most({"chain": 4}))
    assert log.notes == [(0, "1"), (120, "3")]


@pytest.mark.requirement("R-053")
async def test_a_dependency_that_blocks_makes_its_task_wait(moving: Docket) -> None:
    log = Log(moving)

    def patient(execution: Execution = CurrentExecution()) -> float:
        if log.seconds < 9:
            raise AdmissionBlocked(execution, "too early", retry_delay=3 * SECOND)
        return log.seconds

    async def blocked(since: float = Depends(patient)) -> float:
        return since

    execution = await moving.add(blocked)()
    await work_off(moving)
    assert await execution.get_result() == 9
    assert execution.attempt == 1


@pytest.mark.requirement("R-053")
async def test_a_dependency_that_drops_ends_its_task_as_cancelled(moving: Docket) -> None:
    def never(execution: Execution = CurrentExecution()) -> None:
        raise AdmissionBlocked(execution, "out of season", reschedule=False)

    async def blocked(never: None = Depends(never)) -> None:
        raise AssertionError("it must not run")

    execution = await moving.add(blocked)()
    await work_off(moving)
    with pytest.raises(ExecutionCancelled, match="out of season"):
        await execution.get_result()
    await execution.sync()
    assert execution.state is ExecutionState.CANCELLED


@pytest.mark.requirement("R-065")
async def test_a_limit_inside_another_dependency_is_refused(docket: Docket) -> None:
    def inner(limit: ConcurrencyLimit = ConcurrencyLimit()) -> int:
        return 1

    async def outer(value: int = Depends(inner)) -> None: ...

    execution = await docket.add(outer)()
    await work_off(docket)
    with pytest.raises(ExceptionGroup) as raised:
        await execution.get_result()
    assert isinstance(raised.value.exceptions[0], ConfigurationError)
    assert "declare it as a parameter of the task itself" in str(raised.value.exceptions[0])


@pytest.mark.requirement("R-065")
async def test_the_times_of_a_denied_task_stay_as_they_were(moving: Docket) -> None:
    """Waiting at a gate is not being due later."""
    begun = moving.clock.now()
    due: list[datetime] = []

    async def limited(rate: RateLimit = RateLimit(1, per=MINUTE), execution: Execution = CurrentExecution()) -> None:
        due.append(execution.when)

    await moving.add(limited, when=SECOND)()
    await moving.add(limited, when=2 * SECOND)()
    async with working(moving):
        while len(due) < 2:
            await asyncio.sleep(0.005)
    assert [round(moment.timestamp() * 1_000_000) - begun for moment in due] == [1_000_000, 2_000_000]
