"""The docket without an event loop: the whole API, from one thread and from many."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import pytest

from docket_core import (
    Agenda,
    Disposition,
    Docket,
    ExecutionCancelled,
    ExecutionProgress,
    ExecutionState,
    ExecutionSuperseded,
    Progress,
)
from docket_core.backend.model import CancelReply
from docket_core.sync import SyncDocket
from tests.behaviour.sync.conftest import Employer
from tests.support.workers import PATIENCE

HOUR = timedelta(hours=1)
SOON = timedelta(seconds=PATIENCE)


async def double(number: int) -> int:
    return 2 * number


def double_in_thread(number: int) -> int:
    return 2 * number


async def refuse(reason: str) -> None:
    raise LookupError(reason)


@pytest.mark.parametrize("task", [double, double_in_thread])
def test_a_call_is_added_run_and_waited_for(blocking: SyncDocket, employed: Employer, task: object) -> None:
    assert callable(task)
    with employed(double, double_in_thread):
        execution = blocking.add(task, key="k")(21)
        assert execution.get_result(timeout=SOON) == 42
    assert (execution.key, execution.state, execution.disposition) == (
        "k",
        ExecutionState.COMPLETED,
        Disposition.SCHEDULED,
    )
    assert execution.get_argument("number") == 21


def test_errors_arrive_as_they_are(blocking: SyncDocket, employed: Employer) -> None:
    with employed(refuse):
        execution = blocking.add(refuse)("sold out")
        with pytest.raises(LookupError, match="sold out"):
            execution.get_result(timeout=SOON)
    with pytest.raises(KeyError, match="unknown"):
        blocking.add("unknown")
    with pytest.raises(TypeError, match="does not take this call"):
        blocking.add("sleep")()
    with pytest.raises(ValueError, match="key"):
        blocking.add(double, key="")(1)


def test_a_failed_task_is_listed_and_run_again(blocking: SyncDocket, employed: Employer) -> None:
    with employed(refuse):
        execution = blocking.add(refuse, key="k")("sold out")
        with pytest.raises(LookupError):
            execution.get_result(timeout=SOON)
        assert [failed.key for failed in blocking.failed()] == ["k"]
        again = blocking.retry("k")
        with pytest.raises(LookupError):
            again.get_result(timeout=SOON)
        assert again.generation > execution.generation
    with pytest.raises(KeyError, match="no failed task"):
        blocking.retry("other")


def test_a_wait_is_bounded(blocking: SyncDocket) -> None:
    execution = blocking.add(double, when=HOUR)(1)
    with pytest.raises(TimeoutError):
        execution.get_result(timeout=timedelta(milliseconds=20))
    with pytest.raises(TimeoutError):
        execution.get_result(deadline=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="not both"):
        execution.get_result(timeout=HOUR, deadline=datetime.now(UTC))


def test_keys_are_kept_replaced_cancelled_and_cleared(blocking: SyncDocket) -> None:
    first = blocking.add(double, when=HOUR, key="k")(1)
    assert blocking.add(double, when=HOUR, key="k")(2).disposition is Disposition.ALREADY_SCHEDULED
    assert not first.is_superseded()
    second = blocking.replace(double, HOUR, "k")(3)
    assert first.is_superseded()
    with pytest.raises(ExecutionSuperseded):
        first.get_result(timeout=SOON)
    found = blocking.get_execution("k")
    assert found is not None
    assert found.args == (3,)
    assert blocking.cancel("k") is CancelReply.CANCELLED
    assert blocking.cancel("k") is CancelReply.GONE
    with pytest.raises(ExecutionCancelled):
        second.get_result(timeout=SOON)
    second.sync()
    assert second.state is ExecutionState.CANCELLED
    many = blocking.add_many(blocking.call(double, HOUR)(number) for number in range(5))
    assert [execution.disposition for execution in many] == [Disposition.SCHEDULED] * 5
    replaced = blocking.replace_many([blocking.call(double, HOUR, many[0].key)(7), blocking.call(double)(8)])
    assert [execution.disposition for execution in replaced] == [Disposition.SCHEDULED, Disposition.FAILED]
    assert blocking.snapshot().total_tasks == 5
    assert blocking.clear() == 5
    assert blocking.get_execution("never") is None


def test_strikes_come_and_go(blocking: SyncDocket) -> None:
    blocking.wait_for_strikes_loaded()
    blocking.strike(double, "number", ">", 10)
    assert blocking.add(double, when=HOUR)(11).disposition is Disposition.STRUCK
    blocking.restore(double, "number", ">", 10)
    give_up = time.monotonic() + PATIENCE
    while blocking.add(double, when=HOUR)(11).disposition is Disposition.STRUCK:  # an echo of the strike passes soon
        assert time.monotonic() < give_up


def test_workers_are_shown(blocking: SyncDocket, employed: Employer) -> None:
    blocking.register(double)
    with employed(double):
        blocking.add(double)(1).get_result(timeout=SOON)
        names = {worker.name for worker in blocking.workers()}
        assert names == {worker.name for worker in blocking.task_workers("double")}
        assert not blocking.task_workers("unheard of")
    assert "double" in blocking.tasks


def test_the_rest_of_the_api_goes_through_run(blocking: SyncDocket) -> None:
    agenda = Agenda()
    agenda.add(double)(1)
    agenda.add(double)(2)

    async def scatter(docket: Docket) -> int:
        return len(await agenda.scatter(docket, over=HOUR))

    assert blocking.run(scatter) == 2
    assert blocking.snapshot().total_tasks == 2


def test_a_subscription_blocks_until_there_is_news_and_ends_with_the_run(
    blocking: SyncDocket, employed: Employer
) -> None:
    async def steps(progress: ExecutionProgress = Progress()) -> None:
        await progress.set_total(2)
        await progress.increment()

    with employed(steps):
        execution = blocking.add(steps, when=HOUR, key="k")()
        events = execution.subscribe()
        first = next(events)
        assert first["type"] == "state"
        assert first["state"] is ExecutionState.SCHEDULED
        blocking.replace(steps, None, "k")()
        assert not list(events)  # its run was replaced: nothing more will come
        told = list(blocking.add(steps)().subscribe())
    assert told[-1]["type"] == "state"
    assert told[-1]["state"] is ExecutionState.COMPLETED


def test_progress_is_read_and_followed(blocking: SyncDocket, employed: Employer) -> None:
    go_on = threading.Event()

    async def steps(progress: ExecutionProgress = Progress()) -> None:
        await progress.set_total(3)
        await progress.increment(2)
        await progress.set_message("half way")
        await asyncio.to_thread(go_on.wait, PATIENCE)

    with employed(steps):
        execution = blocking.add(steps)()
        for event in execution.progress.subscribe():
            if event["message"] == "half way":
                break
        execution.progress.sync()
        progress = execution.progress
        assert (progress.current, progress.total, progress.message) == (2, 3, "half way")
        assert progress.updated_at is not None
        go_on.set()
        execution.get_result(timeout=SOON)


def test_many_threads_use_one_docket(blocking: SyncDocket, employed: Employer) -> None:
    meeting = threading.Barrier(16)

    def one(number: int) -> int:
        meeting.wait(PATIENCE)
        result = blocking.add(double, key=f"key-{number}")(number).get_result(timeout=SOON)
        assert isinstance(result, int)
        return result

    with employed(double), ThreadPoolExecutor(16) as threads:
        assert list(threads.map(one, range(64))) == [2 * number for number in range(64)]
    assert [thread.name for thread in threading.enumerate()].count("docket orders") == 1


def test_the_context_of_the_caller_goes_along(blocking: SyncDocket) -> None:
    """So spans of the caller are the parents of those of the docket."""
    where: ContextVar[str] = ContextVar("where")
    where.set("a view")

    async def look(_: Docket) -> str:
        return where.get()

    assert blocking.run(look) == "a view"
