"""The worker at work: what it runs, where it waits, and what wakes it."""

import asyncio
import gc
import threading
from contextvars import ContextVar
from datetime import timedelta
from typing import Annotated, Any

import pytest

from docket_core import CurrentExecution, Docket, Execution, ExecutionState, Logged, Worker
from docket_core.backend.clock import SECOND
from docket_core.backend.model import Claim, Claimed
from docket_core.errors import BackendUnavailable, ConfigurationError
from docket_core.worker.run import Run
from docket_core.worker.runner import ExecutionRaised
from tests.support.workers import Signal, until, within, work_off, working

_colour: ContextVar[str] = ContextVar("colour", default="nobody's")


async def give(value: object) -> object:
    return value


async def test_a_waiting_worker_takes_a_new_function_at_once(docket: Docket) -> None:
    """It waits for the functions it knew; one that becomes known meanwhile is waited for as well."""
    async with working(docket) as worker:
        await within(worker.has_claimed())
        await asyncio.sleep(0.05)
        execution = await docket.add(give)(1)
        assert await within(execution.get_result(), 1) == 1


async def test_a_function_that_becomes_known_during_a_claim_is_claimed_at_once(
    docket: Docket, other: Docket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That claim has not asked for its tasks, and what is there already is not pushed any more."""
    execution = await other.add(give)(1)
    claim = docket.backend.claim

    async def claim_first(*arguments: Any) -> Claimed:
        claimed = await claim(*arguments)
        docket.register(give)
        return claimed

    monkeypatch.setattr(docket.backend, "claim", claim_first)
    async with working(docket):
        assert await within(execution.get_result(), 1) == 1


async def test_runs_leave_nothing_to_the_garbage_collector(docket: Docket) -> None:
    """A run is freed when it has been answered; a collection that looks through all of them stops the worker."""
    async with Worker(docket) as worker:
        await docket.add(give)(0)
        await within(worker.run_until_finished())
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for number in range(20):
                await docket.add(give)(number)
            await within(worker.run_until_finished())
            gc.collect()
            left = sum(isinstance(thing, Execution | Run | asyncio.Task) for thing in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert left < 20


async def test_a_body_that_cancels_itself_fails_though_its_worker_looks_again_just_then(docket: Docket) -> None:
    """What ends the worker's wait is no sign that it leaves, which would give the task back, to be run again."""
    runs = 0

    async def quits() -> None:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)  # the worker waits meanwhile
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(0)
        finally:
            docket.register(give, names=[f"give {runs}"])

    async with working(docket, concurrency=2):
        execution = await docket.add(quits)()
        with pytest.raises(ExecutionRaised):
            await within(execution.get_result())
    assert runs == 1


async def test_a_worker_that_is_told_to_stop_during_a_claim_that_fails_does_not_pause_first(
    docket: Docket, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = 0

    async def claim(*_: Any) -> Claimed:
        nonlocal failed
        failed += 1
        if failed == 8:
            worker.stop()
        raise BackendUnavailable("not now")

    def pause(failures: int, *_: int) -> int:
        return 0 if failures < 8 else 3600 * SECOND

    monkeypatch.setattr(docket.backend, "claim", claim)
    monkeypatch.setattr("docket_core.worker.intake.backoff", pause)
    async with Worker(docket) as worker:
        await within(worker.run_forever(), 5)
    assert failed == 8


async def test_a_finished_docket_is_left_at_once(docket: Docket) -> None:
    """Not one of these ends may be noticed only by the next look, two seconds later."""
    began = asyncio.get_running_loop().time()
    for number in range(20):
        await docket.add(give)(number)
        await work_off(docket)
    assert asyncio.get_running_loop().time() - began < 10


async def test_what_a_task_sets_in_its_context_is_its_own(docket: Docket) -> None:
    """Each begins with the worker's context, also one that begins in the moment in which another ends."""
    seen: list[str] = []

    async def paint(colour: str, execution: Execution = CurrentExecution()) -> None:
        seen.append(_colour.get())
        _colour.set(colour)
        assert execution.get_argument("colour") == colour

    _colour.set("the worker's")
    await docket.add_many(docket.call(paint)(colour) for colour in ["red", "green", "blue", "grey"] * 3)
    await work_off(docket, concurrency=2)
    assert seen == ["the worker's"] * 12


async def test_until_finished_waits_for_what_is_due_later(docket: Docket) -> None:
    ran: list[str] = []

    async def note(text: str) -> None:
        ran.append(text)

    await docket.add(note, when=timedelta(milliseconds=150))("later")
    await docket.add(note)("now")
    await work_off(docket)
    assert ran == ["now", "later"]


async def test_until_finished_ignores_what_nobody_here_knows(docket: Docket, other: Docket) -> None:
    execution = await other.add(give)(1)
    await work_off(docket)
    await execution.sync()
    assert execution.state is ExecutionState.QUEUED


async def test_as_many_run_at_a_time_as_there_are_slots(docket: Docket) -> None:
    running, most, full = 0, 0, Signal()
    go_on = Signal()

    async def hold() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.give()
        await go_on.seen()
        running -= 1

    docket.register(hold)
    await docket.add_many([docket.call(hold)() for _ in range(7)])
    async with working(docket, concurrency=3):
        await full.seen()
        snapshot = await docket.snapshot()
        assert (len(snapshot.running), len(snapshot.future)) == (3, 4)
        go_on.give()
    assert most == 3


async def test_a_slot_that_is_free_is_used_though_others_are_busy(docket: Docket) -> None:
    go_on, begun = Signal(), Signal()

    async def hold() -> None:
        begun.give()
        await go_on.seen()

    async with working(docket, concurrency=2):
        await docket.add(hold)()
        await begun.seen()
        for number in range(5):
            execution = await docket.add(give)(number)
            assert await within(execution.get_result(), 5) == number
        go_on.give()


async def test_a_function_that_is_not_async_runs_in_a_thread(docket: Docket) -> None:
    async def where() -> str:
        return threading.current_thread().name

    def where_in_thread(execution: Execution = CurrentExecution()) -> tuple[str, str]:
        return threading.current_thread().name, execution.key

    inside, outside = await docket.add(where_in_thread, key="k")(), await docket.add(where)()
    await work_off(docket)
    name, key = await inside.get_result()
    assert name.startswith("docket task")
    assert key == "k"
    assert await outside.get_result() == threading.current_thread().name


async def test_functions_in_threads_run_side_by_side(docket: Docket) -> None:
    meeting = threading.Barrier(4)

    def meet() -> int:
        return meeting.wait(20)

    docket.register(meet)
    executions = await docket.add_many([docket.call(meet)() for _ in range(4)])
    await work_off(docket, concurrency=4)
    assert sorted([await execution.get_result() for execution in executions]) == [0, 1, 2, 3]


async def test_only_what_is_marked_is_shown_in_logs(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:

    async def pay(
        order: Annotated[int, Logged()], card: str, items: Annotated[list[int], Logged(length_only=True)]
    ) -> None: ...

    with caplog.at_level("INFO", "docket_core.worker"):
        await docket.add(pay, key="k")(7, "4111-1111", items=[1, 2, 3])
        await work_off(docket)
    assert "pay(7, ..., items=<list of length 3>){k}" in caplog.text
    assert "4111" not in caplog.text


async def test_the_log_tells_where_it_was_written(docket: Docket, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "docket_core.worker"):
        await docket.add(give)(1)
        await work_off(docket)
    files = {record.filename for record in caplog.records if record.name == "docket_core.worker"}
    assert files == {"worker.py", "log.py"}


@pytest.mark.parametrize(
    "options",
    [{"concurrency": 0}, {"redelivery_timeout": timedelta(milliseconds=99)}, {"max_deliveries": 0}],
)
async def test_what_makes_no_sense_is_refused(docket: Docket, options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="least|short"):
        Worker(docket, **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_worker_runs_once_at_a_time(docket: Docket) -> None:
    async with working(docket) as worker:
        await within(worker.has_claimed())
        with pytest.raises(RuntimeError, match="running already"):
            await worker.run_forever()


async def test_a_worker_can_run_again(docket: Docket) -> None:
    async with Worker(docket) as worker:
        for number in range(3):
            execution = await docket.add(give)(number)
            await within(worker.run_until_finished())
            assert await execution.get_result() == number


async def test_run_at_most_ends_each_named_key_after_so_many_runs(docket: Docket) -> None:
    from docket_core import Perpetual

    ran: list[str] = []

    async def again(name: str, perpetual: Perpetual = Perpetual()) -> None:
        ran.append(name)

    await docket.add(again, key="a")("a")
    await docket.add(again, key="b")("b")
    await docket.add(give, key="c")("c")
    async with Worker(docket) as worker:
        await within(worker.run_at_most({"a": 3, "b": 2}))
    assert sorted(ran) == ["a", "a", "a", "b", "b"]
    assert (await docket.snapshot()).total_tasks == 0


async def test_the_fence_grows_from_grant_to_grant(docket: Docket) -> None:
    tokens: list[int | None] = []

    async def note(execution: Execution = CurrentExecution()) -> None:
        tokens.append(execution.token)

    execution = await docket.add(note)()
    assert execution.token is None
    await work_off(docket)
    await docket.add(note)()
    await work_off(docket)
    first, second = tokens
    assert first is not None
    assert second is not None
    assert 0 < first < second


async def test_two_workers_share_the_work(docket: Docket, other: Docket) -> None:
    meeting: set[str | None] = set()
    both = Signal()

    async def meet(execution: Execution = CurrentExecution()) -> None:
        meeting.add(execution.worker)
        if len(meeting) == 2:
            both.give()
        await both.seen()

    docket.register(meet)
    other.register(meet)
    async with working(docket, name="one", concurrency=1), working(other, name="two", concurrency=1):
        await docket.add_many([docket.call(meet)() for _ in range(2)])
        await both.seen()
        await until(lambda: meeting == {"one", "two"})


async def test_a_function_that_is_forgotten_while_it_is_claimed_is_left_for_others(
    docket: Docket, other: Docket
) -> None:
    class Forgets(Worker):
        def begin(self, claim: Claim, confirmed_until: float) -> None:
            self.docket.tasks.pop("give", None)
            super().begin(claim, confirmed_until)

    execution = await docket.add(give)(1)
    async with Forgets(docket) as worker:
        await within(worker.run_until_finished())
    other.register(give)
    await work_off(other, max_deliveries=1)
    assert await execution.get_result() == 1
