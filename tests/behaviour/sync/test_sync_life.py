"""When the thread behind a synchronous docket starts and ends, and what its callers are told."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from docket_core import Docket
from docket_core.errors import BackendUnavailable, ConfigurationError
from docket_core.sync import SyncDocket
from tests.support.workers import PATIENCE

HOUR = timedelta(hours=1)


async def double(number: int) -> int:
    return 2 * number


def docket_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("docket ")]


def test_nothing_starts_before_the_first_call(blocking: SyncDocket) -> None:
    blocking.register(double)
    assert blocking.call(double)(1).function_name == "double"
    assert not docket_threads()
    blocking.snapshot()
    assert docket_threads() == ["docket orders"]


def test_it_closes_as_a_context_manager(docket_url: str) -> None:
    with SyncDocket("orders", docket_url) as docket:
        assert docket_threads() == ["docket orders"]
        execution = docket.add(double, when=HOUR)(1)
    assert not docket_threads()
    for use in (docket.snapshot, execution.sync, docket.__enter__):
        with pytest.raises(RuntimeError, match="is closed"):
            use()
    docket.close()


def test_who_waits_while_it_is_closed_is_told(blocking: SyncDocket) -> None:
    execution = blocking.add(double, when=HOUR)(1)
    said: list[BaseException] = []
    waiting = threading.Event()

    async def forever(_: Docket) -> None:
        waiting.set()
        await asyncio.Event().wait()

    def wait_for_result() -> None:
        with pytest.raises(RuntimeError, match="not open") as told:
            execution.get_result()
        said.append(told.value)

    def wait_for_ever() -> None:
        with pytest.raises(RuntimeError, match="closed while a call was waiting") as told:
            blocking.run(forever)
        said.append(told.value)

    threads = [threading.Thread(target=target) for target in (wait_for_result, wait_for_ever)]
    for thread in threads:
        thread.start()
    assert waiting.wait(PATIENCE)
    blocking.snapshot()
    blocking.close(timedelta(seconds=PATIENCE))
    for thread in threads:
        thread.join(PATIENCE)
    assert len(said) == 2


async def test_a_thread_that_runs_an_event_loop_is_refused(blocking: SyncDocket) -> None:
    with pytest.raises(RuntimeError, match=r"use docket_core\.Docket there"):
        blocking.add(double)(1)
    with pytest.raises(RuntimeError, match="event loop"), blocking:
        pass
    execution = await asyncio.to_thread(blocking.add(double, when=HOUR), 1)
    with pytest.raises(RuntimeError, match="event loop"):
        execution.get_result()

    async def within(_: Docket) -> None:
        blocking.snapshot()

    with pytest.raises(RuntimeError, match="event loop"):
        await asyncio.to_thread(blocking.run, within)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, as in a shell's foreground: what is started in the background is deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_wait_can_be_interrupted(blocking: SyncDocket) -> None:
    """As Ctrl-C does: the signal comes once the call is under way on the loop."""
    ended = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    async def interrupt(_: Docket) -> None:
        try:
            signal.pthread_kill(main, signal.SIGINT)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            raise

    with pytest.raises(KeyboardInterrupt):
        blocking.run(interrupt)
    assert ended.wait(PATIENCE)
    assert blocking.snapshot().total_tasks == 0


def test_what_is_wrong_with_the_url_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match="nonsense"):
        SyncDocket("orders", "nonsense://x").snapshot()


def test_a_store_that_could_not_be_opened_is_tried_again(tmp_path: Path) -> None:
    docket = SyncDocket("orders", f"sqlite:///{tmp_path}/later/docket.db")
    with pytest.raises((ConfigurationError, BackendUnavailable), match="later"):
        docket.snapshot()
    assert not docket_threads()
    (tmp_path / "later").mkdir()
    with docket:
        assert docket.add(double)(1).key
