"""The memory store hands the next task over to a worker that waits, in whatever event loop it does."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from docket_core import CurrentExecution, Docket, Execution
from docket_core.backend.clock import SECOND, ManualClock, Micros
from docket_core.backend.model import Ack, Acked, Claim, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.records import Topic
from docket_core.backend.registry import open_backend
from tests.support.workers import until, within, working

WORK = frozenset({"work"})
LEASE = 30 * SECOND


def task(key: str, function: str = "work") -> Task:
    return Task(key, function, b"", f"run of {key}")


@pytest.fixture
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    async with open_backend(f"memory://{request.node.name}", "handover") as opened:
        yield opened


class Wait:
    """A wait under way, and what it was handed."""

    def __init__(self, backend: Backend, mark: object, function: str = "work") -> None:
        self.claims: list[Claim] = []
        self.task = asyncio.create_task(backend.wait({function}, mark, None, self._take))

    def _take(self, claims: Sequence[Claim], now: Micros) -> None:
        assert all(claim.claimed_at <= now for claim in claims)
        self.thread = threading.get_ident()
        self.claims.extend(claims)


async def waiting(backend: Backend) -> Wait:
    """A wait that sleeps."""
    claimed = await backend.claim("worker", WORK, 10, LEASE)
    assert not claimed.claims
    wait = Wait(backend, claimed.mark)
    await asyncio.sleep(0)
    return wait


def in_another_thread(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """Run it in that loop, which is closed then, while the one of this thread stands still."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(loop.run_until_complete, work).result()
    loop.close()


def add_in_another_thread(backend: Backend) -> None:
    async def add() -> None:
        async with open_backend(backend.url, "handover") as other:
            await other.enqueue([task("key")])

    in_another_thread(asyncio.new_event_loop(), add())


async def claimed_by_another(backend: Backend) -> list[str]:
    return [claim.key for claim in (await backend.claim("another", WORK, 10, LEASE)).claims]


async def test_it_is_handed_over_at_once(backend: Backend) -> None:
    """In one event loop the add itself tells the worker."""
    wait = await waiting(backend)
    await backend.enqueue([task("key")])
    [claim] = wait.claims
    await within(wait.task)
    assert await backend.ack([Ack.complete(claim)]) == [Acked.ACKED]


async def test_it_is_handed_over_in_the_event_loop_that_waits(backend: Backend) -> None:
    wait = await waiting(backend)
    add_in_another_thread(backend)
    assert not wait.claims
    await within(wait.task)
    assert [claim.key for claim in wait.claims] == ["key"]
    assert wait.thread == threading.get_ident()
    assert not await claimed_by_another(backend)


async def test_what_comes_from_another_thread_after_the_wait_goes_back(backend: Backend) -> None:
    wait = await waiting(backend)
    wait.task.cancel()  # it has not seen that yet
    add_in_another_thread(backend)
    await within(asyncio.wait({wait.task}))
    await asyncio.sleep(0)
    assert not wait.claims
    [claim] = (await backend.claim("another", WORK, 10, LEASE)).claims
    assert (claim.key, claim.delivery) == ("key", 1)


async def test_what_has_waited_longer_comes_first(backend: Backend) -> None:
    """A task that was only rung for is not passed by one that could be handed over."""
    wait = await waiting(backend)
    async with backend.subscribe({Topic.STATE}, None):
        await backend.enqueue([task("first")])
    await backend.enqueue([task("second")])
    await within(wait.task)
    assert not wait.claims
    assert await claimed_by_another(backend) == ["first", "second"]


async def test_one_that_is_due_later_is_no_older_one(backend: Backend) -> None:
    """A function with something scheduled, as a cron task always has, is handed over all the same."""
    await backend.schedule([task("later")._replace(delay=SECOND * 3600)])
    wait = await waiting(backend)
    await backend.enqueue([task("key")])
    assert [claim.key for claim in wait.claims] == ["key"]
    await within(wait.task)


async def test_a_loop_that_was_closed_is_handed_nothing(backend: Backend) -> None:
    """Whoever waited there is gone."""
    taken: list[Claim] = []
    left: list[Coroutine[Any, Any, None]] = []

    async def wait_and_leave() -> None:
        claimed = await backend.claim("worker", WORK, 10, LEASE)
        wait = backend.wait(WORK, claimed.mark, None, lambda claims, _: taken.extend(claims))
        wait.send(None)  # it sleeps, and is never woken
        left.append(wait)

    in_another_thread(asyncio.new_event_loop(), wait_and_leave())
    await backend.enqueue([task("key")])
    assert await claimed_by_another(backend) == ["key"]
    assert not taken
    left[0].close()


async def test_it_begins_before_the_add_returns(backend: Backend) -> None:
    """The add gives up its turn to the worker that has waited for it, and only to such a one."""
    turns: list[str] = []
    loop = asyncio.get_running_loop()
    claimed = await backend.claim("worker", WORK, 10, LEASE)
    waiting = asyncio.create_task(
        backend.wait(WORK, claimed.mark, None, lambda claims, _: turns.extend(claim.key for claim in claims))
    )
    await asyncio.sleep(0)
    loop.call_soon(turns.append, "a turn")
    await backend.enqueue([task("strange", "other")])
    assert not turns
    await backend.enqueue([task("key")])
    assert turns == ["key", "a turn"]
    await within(waiting)


async def handed_one(docket: Docket, begun: list[tuple[str, bool]]) -> Claim:
    """What a worker gets that waits beside another one: either may be handed the next task."""
    for _ in range(100):
        claimed = await docket.backend.claim("dead", {"note"}, 1, LEASE)
        wait = Wait(docket.backend, claimed.mark, "note")
        await asyncio.sleep(0)
        begun.clear()
        await docket.add(docket.tasks["note"])()
        await until(lambda: bool(wait.claims or begun))  # noqa: B023
        wait.task.cancel()
        if wait.claims:
            return wait.claims[0]
    raise AssertionError("the worker that runs is handed everything")


async def test_what_a_dead_worker_was_handed_is_taken_over_though_others_keep_coming() -> None:
    """A worker that is handed one task after the other looks for lapsed leases all the same."""
    clock = ManualClock()
    begun: list[tuple[str, bool]] = []

    async def note(execution: Execution = CurrentExecution()) -> None:
        begun.append((execution.key, execution.redelivered))

    async with Docket("orders", "memory://dead", clock=clock) as docket:
        docket.register(note)
        async with working(docket) as worker:
            await within(worker.has_claimed())
            dead = await handed_one(docket, begun)
            for number in range(LEASE // SECOND + 3):
                clock.advance(SECOND)
                await docket.add(note, key=f"{number}")()
                await until(lambda: (f"{number}", False) in begun)  # noqa: B023
    assert (dead.key, True) in begun
