"""Results that are kept elsewhere, failures that cannot travel, and failed tasks run again."""

from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from key_value.aio.stores.memory import MemoryStore

from docket_core import Disposition, Docket, ExecutionFailed, ExecutionState, ResultExpired, Retry
from docket_core.backend.clock import ManualClock
from tests.support.workers import Signal, until, within, work_off, working

COLLECTION = "docket-results-stored"


class Kept(MemoryStore):
    """Notes what is kept and what is deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str]] = []

    async def put(self, key: str, value: Mapping[str, Any], **options: Any) -> None:
        self.events.append(("put", key))
        await super().put(key, value, **options)

    async def delete(self, key: str, **options: Any) -> bool:
        self.events.append(("delete", key))
        return bool(await super().delete(key, **options))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
async def stored(docket_url: str, kept: Kept) -> AsyncGenerator[Docket, None]:
    """A docket whose results are kept elsewhere."""
    async with Docket("stored", docket_url, result_storage=kept) as opened:
        yield opened


async def answer(value: object) -> object:
    return value


@pytest.mark.requirement("R-024")
async def test_a_result_is_kept_under_key_and_token(stored: Docket, kept: Kept) -> None:
    execution = await stored.add(answer, key="k")({"a": [1]})
    await work_off(stored)
    assert await execution.get_result() == {"a": [1]}
    assert [event for event, _ in kept.events] == ["put"]
    assert kept.events[0][1].startswith("k:")
    assert execution.result_key == kept.events[0][1]
    record = (await stored.backend.get(["k"]))[0]
    assert record is not None
    assert record.last is not None
    assert record.last.result is not None
    assert len(record.last.result) < 100, "the store has a reference only"


@pytest.mark.requirement("R-024")
async def test_a_result_may_be_larger_than_the_store_takes(stored: Docket) -> None:
    async def large() -> str:
        return "x" * 3_000_000

    execution = await stored.add(large)()
    await work_off(stored)
    assert len(await execution.get_result()) == 3_000_000


@pytest.mark.requirement("R-024")
async def test_nothing_is_kept_of_none_or_a_failure(stored: Docket, kept: Kept) -> None:
    async def go_wrong() -> None:
        raise LookupError("no")

    executions = [await stored.add(answer)(None), await stored.add(go_wrong)()]
    await work_off(stored)
    assert await executions[0].get_result() is None
    with pytest.raises(LookupError):
        await executions[1].get_result()
    assert kept.events == []


@pytest.mark.requirement("R-024")
async def test_who_has_no_storage_is_told_so(stored: Docket, docket_url: str) -> None:
    execution = await stored.add(answer, key="k")(1)
    await work_off(stored)
    await execution.get_result()
    async with Docket("stored", docket_url) as without:
        found = await without.get_execution("k")
        assert found is not None
        with pytest.raises(ResultExpired, match="a result_storage that is not set here"):
            await found.get_result()


@pytest.mark.requirement("R-024")
async def test_a_result_that_the_storage_lost_has_expired(stored: Docket, kept: Kept) -> None:
    execution = await stored.add(answer)(1)
    await work_off(stored)
    await kept.delete(kept.events[0][1], collection=COLLECTION)
    with pytest.raises(ResultExpired, match="is not kept any more"):
        await execution.get_result()


@pytest.mark.requirement("R-024")
async def test_a_storage_that_fails_fails_the_task(docket_url: str) -> None:
    class Broken(MemoryStore):
        async def put(self, key: str, value: Mapping[str, Any], **options: Any) -> None:
            raise OSError("the bucket is gone")

    async with Docket("stored", docket_url, result_storage=Broken()) as docket:
        execution = await docket.add(answer)(1)
        await work_off(docket)
        with pytest.raises(OSError, match="the bucket is gone"):
            await execution.get_result()


@pytest.mark.requirement("R-024")
async def test_without_retention_nothing_is_kept(docket_url: str, kept: Kept) -> None:
    async with Docket("stored", docket_url, result_storage=kept, execution_ttl=timedelta(0)) as docket:
        await docket.add(answer)(1)
        await work_off(docket)
    assert kept.events == []


@pytest.mark.requirement("R-025")
async def test_the_result_of_a_superseded_run_is_deleted_again(stored: Docket, kept: Kept) -> None:
    started, go_on = Signal(), Signal()

    async def slow(value: int) -> int:
        if value == 1:
            started.give()
            await go_on.seen()
        return value

    first = await stored.add(slow, key="k")(1)
    async with working(stored):
        await started.seen()
        second = await stored.replace(slow, None, "k")(2)
        go_on.give()
        assert await within(second.get_result()) == 2
        await until(lambda: len(kept.events) == 3)
    puts = [name for event, name in kept.events if event == "put"]
    assert sorted(kept.events) == sorted([("put", puts[0]), ("put", puts[1]), ("delete", puts[0])])
    assert second.result_key == puts[1]
    assert first.key == "k"


class Stubborn(Exception):
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        raise TypeError("I stay here")


class Lost(Exception):
    """Can be pickled, but not made again: its class wants more than its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("lost on the way")


@pytest.mark.requirement("R-023")
@pytest.mark.parametrize(
    ("error", "shown"),
    [(Stubborn("stubborn as ever"), "Stubborn: stubborn as ever"), (Lost(1, 2), "Lost: lost on the")],
)
async def test_a_failure_that_cannot_travel_shows_what_it_was(docket: Docket, error: Exception, shown: str) -> None:
    raised = {"error": error}

    async def go_wrong() -> None:
        raise raised["error"]

    execution = await docket.add(go_wrong)()
    await work_off(docket)
    with pytest.raises(ExecutionFailed) as failure:
        await execution.get_result()
    text = str(failure.value)
    assert shown in text
    assert "Traceback" in text
    assert "in go_wrong" in text
    await execution.sync()
    assert execution.error is not None
    assert shown in execution.error


runs: list[str] = []


async def moody(name: str, mood: str = "good") -> str:
    runs.append(f"{name} {mood}")
    if len(runs) == 1:
        raise ValueError("not now")
    return name


@pytest.mark.requirement("R-016")
async def test_a_failed_task_is_listed_and_run_again(docket: Docket) -> None:
    runs.clear()
    first = await docket.add(moody, key="moody")("ann", mood="bad")
    await work_off(docket)
    failed = await docket.failed()
    assert [(found.key, found.args, found.kwargs) for found in failed] == [("moody", ("ann",), {"mood": "bad"})]
    assert failed[0].error is not None
    assert "ValueError: not now" in failed[0].error
    again = await docket.retry("moody")
    assert again.disposition is Disposition.SCHEDULED
    assert again.run != first.run
    await work_off(docket)
    assert await again.get_result() == "ann"
    assert runs == ["ann bad", "ann bad"]
    assert await docket.failed() == []
    with pytest.raises(KeyError, match="no failed task is kept under 'moody'"):
        await docket.retry("moody")


@pytest.mark.requirement("R-016")
async def test_a_retry_by_hand_has_all_its_attempts(docket: Docket) -> None:
    attempts: list[int] = []

    async def flaky(retry: Retry = Retry(attempts=2)) -> None:
        attempts.append(retry.attempt)
        raise ValueError

    await docket.add(flaky, key="flaky")()
    await work_off(docket)
    await docket.retry("flaky")
    await work_off(docket)
    assert attempts == [1, 2, 1, 2]


@pytest.mark.requirement("R-016")
async def test_what_is_unknown_here_can_be_run_again_from_here(docket: Docket, other: Docket) -> None:
    runs.clear()
    await docket.add(moody, key="moody")("ann")
    await work_off(docket)
    assert [found.function_name for found in await other.failed()] == ["moody"]
    again = await other.retry("moody")
    assert again.disposition is Disposition.SCHEDULED
    await work_off(docket)
    assert await again.get_result() == "ann"


@pytest.mark.requirement("R-016", "R-070")
async def test_a_struck_task_is_not_run_again(docket: Docket) -> None:
    runs.clear()
    await docket.add(moody, key="moody")("ann")
    await work_off(docket)
    await docket.strike(moody)
    assert (await docket.retry("moody")).disposition is Disposition.STRUCK
    assert [found.key for found in await docket.failed()] == ["moody"]


@pytest.mark.requirement("R-016")
async def test_failures_are_listed_as_long_as_they_are_kept(timed: Docket, clock: ManualClock) -> None:
    async def go_wrong(number: int) -> None:
        raise ValueError(number)

    for number in range(3):
        await timed.add(go_wrong, key=f"fail {number}")(number)
    await work_off(timed)
    assert {found.key for found in await timed.failed()} == {"fail 0", "fail 1", "fail 2"}
    assert len(await timed.failed(limit=2)) == 2
    clock.advance(timed.execution_ttl)
    assert await timed.failed() == []
    with pytest.raises(KeyError):
        await timed.retry("fail 0")


@pytest.mark.requirement("R-013")
async def test_after_retention_there_is_no_execution(timed: Docket, clock: ManualClock) -> None:
    await timed.add(answer, key="k")(1)
    await work_off(timed)
    found = await timed.get_execution("k")
    assert found is not None
    assert found.state is ExecutionState.COMPLETED
    clock.advance(timed.execution_ttl)
    assert await timed.get_execution("k") is None
    assert await timed.get_execution("never there") is None
