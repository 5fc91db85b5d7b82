"""`Worker.run`: a worker as a program of one's own starts it."""

import asyncio
import gc
import signal
import sys
import threading
from types import ModuleType

import pytest

from docket_core import Docket, ExecutionState, Worker
from docket_core.errors import ConfigurationError, MissingExtra
from docket_core.worker.entry import YOUNG, Ending, start_kept, until_signalled
from docket_core.worker.metrics import serve_metrics


async def double(number: int) -> int:
    return 2 * number


tasks = [double]


async def add(url: str) -> None:
    async with Docket("orders", url) as docket:
        await docket.add(double, key="d")(21)


async def result(url: str) -> object:
    async with Docket("orders", url) as docket:
        execution = await docket.get_execution("d")
        assert execution is not None
        assert execution.state is ExecutionState.COMPLETED
        return await execution.get_result()


def run_worker(url: str) -> None:
    asyncio.run(Worker.run("orders", url, "w", tasks=[f"{__name__}:tasks"], until_finished=True, concurrency=2))


def test_it_runs_the_tasks_of_its_collections_and_leaves_signals_as_they_were(url: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    asyncio.run(add(url))
    run_worker(url)
    assert asyncio.run(result(url)) == 42
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_it_runs_in_a_thread_too_where_signals_are_not_its_own(url: str) -> None:
    asyncio.run(add(url))
    thread = threading.Thread(target=run_worker, args=(url,))
    thread.start()
    thread.join(30)
    assert asyncio.run(result(url)) == 42


def test_while_it_runs_the_collector_leaves_alone_what_its_start_has_left(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []

    async def double(number: int) -> int:
        seen.append((gc.get_freeze_count() > 0, gc.get_threshold()[0]))
        return number

    monkeypatch.setitem(globals(), "tasks", [double])
    gc.unfreeze()
    before = gc.get_threshold(), gc.get_freeze_count()
    asyncio.run(add(url))
    run_worker(url)
    assert seen == [(True, max(YOUNG, before[0][0]))]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_beside_other_threads_the_collector_stays_as_it_is() -> None:
    before, seen = gc.get_threshold(), list[tuple[int, int, int]]()

    def work() -> None:
        with start_kept():
            seen.append(gc.get_threshold())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert seen == [before]


def test_a_collector_that_was_switched_off_stays_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with start_kept():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)


async def test_what_cannot_be_found_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="nothing_here"):
        await Worker.run("orders", url, tasks=["nothing_here:tasks"])


async def test_cancelling_the_caller_ends_it_and_is_passed_on() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def main() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.create_task(until_signalled(main()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()


async def test_an_error_is_passed_on() -> None:
    async def main() -> None:
        raise ConfigurationError("as it is")

    with pytest.raises(ConfigurationError, match="as it is"):
        await until_signalled(main())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
async def test_each_signal_cancels_once_more() -> None:
    begun = asyncio.Event()

    async def main(patience: int) -> None:
        for _ in range(patience):
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    for patience, ending in ((0, Ending.STOPPED), (1, Ending.LEFT)):
        begun.clear()
        task = asyncio.create_task(until_signalled(main(patience)))
        if patience:
            await begun.wait()
        else:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        assert await task is ending


@pytest.fixture
def no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra was not installed."""
    missing: dict[str, ModuleType | None] = dict.fromkeys(["opentelemetry.exporter.prometheus", "prometheus_client"])
    for name, module in missing.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("no_exporter")
def test_metrics_without_the_extra_say_what_to_install() -> None:
    with pytest.raises(MissingExtra, match=r"docket-core\[metrics\]"):
        serve_metrics(0)
