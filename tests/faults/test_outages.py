"""Case 21: a server that restarts, is cut off, is silent or refuses. Workers wait and go on; users get known errors."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from docket_core import Docket, ExecutionState
from docket_core.codec import JsonCodec
from docket_core.errors import BackendError, BackendUnavailable
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer
from tests.support.troubled import KINDS, Kind, Troubled, troubled
from tests.support.workers import Signal, until, until_async, within, working

Answer = TypeVar("Answer")
LEASE = timedelta(seconds=2)
RECOVERY = 5.0
"""Seconds from a healed way to the store until tasks start again."""
FAR = datetime(9999, 1, 1, tzinfo=UTC)
starts: Counter[str] = Counter()
cancelled: list[str] = []


async def note(key: str) -> str:
    starts[key] += 1
    await asyncio.sleep(0.002)
    return key


async def hold(signal: str) -> str:
    starts[signal] += 1
    try:
        await SIGNALS[signal].seen()
    except asyncio.CancelledError:
        cancelled.append(signal)
        raise
    return signal


SIGNALS: dict[str, Signal] = {}


@pytest.fixture(scope="module", params=KINDS, ids=repr)
def started(request: pytest.FixtureRequest) -> Iterator[tuple[Kind, RedisServer | PostgresServer]]:
    kind: Kind = request.param
    with kind.start() as server:
        yield kind, server


@pytest.fixture
async def store(started: tuple[Kind, RedisServer | PostgresServer]) -> AsyncIterator[Troubled]:
    async with troubled(*started) as made:
        yield made


@pytest.fixture
async def docket(store: Troubled) -> AsyncIterator[Docket]:
    starts.clear()
    cancelled.clear()
    async with opened(store.url, f"outage-{uuid4().hex}") as made:
        yield made


def opened(url: str, name: str) -> Docket:
    docket = Docket(name, url, codec=JsonCodec())
    docket.register(note)
    docket.register(hold)
    return docket


async def insist(call: Callable[[], Awaitable[Answer]], seconds: float = 15) -> Answer:
    """Repeat what a store in trouble refuses, as a user may; nothing but the known errors comes."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except BackendError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


class Adder:
    """Adds tasks one after another as long as it runs, and remembers which were taken."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self.added: list[str] = []
        self.refused = 0
        self._over = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        number = 0
        while not self._over:
            key = f"k{number}"
            try:
                await self._docket.add(note, key=key)(key)
            except BackendError:
                self.refused += 1
                await asyncio.sleep(0.02)
                continue
            number += 1
            self.added.append(key)
            await asyncio.sleep(0.002)

    async def end(self) -> list[str]:
        self._over = True
        await within(self._task)
        return self.added


async def all_end(docket: Docket, keys: list[str]) -> None:
    """Every one of these runs has ended well."""

    async def ended() -> bool:
        records = await insist(lambda: docket.backend.get(keys))
        lasts = [record.last for record in records if record is not None and record.live is None]
        return len(lasts) == len(keys) and all(last is not None and last.state == "completed" for last in lasts)

    await until_async(ended)
    assert set(keys) <= starts.keys()


async def test_case_21_a_crash_and_a_restart_lose_nothing(docket: Docket, store: Troubled) -> None:
    async with working(docket, redelivery_timeout=LEASE):
        SIGNALS["long"] = Signal()
        long = await docket.add(hold, key="long")("long")
        waiting = asyncio.create_task(long.get_result())
        adder = Adder(docket)
        await until(lambda: len(adder.added) > 30)
        await store.crash(away=0.3)
        healed = time.monotonic()
        before, begun = len(adder.added), len(starts)
        await until(lambda: len(adder.added) > before and len(starts) > begun + 1)
        assert time.monotonic() - healed < RECOVERY
        SIGNALS["long"].give()
        assert await within(waiting) == "long"  # who waits for a result sits the outage out
        await all_end(docket, await adder.end())
    assert adder.refused
    assert starts["long"] <= 2


async def test_case_21_connections_are_cut_in_the_middle_of_anything(docket: Docket, store: Troubled) -> None:
    async with working(docket, redelivery_timeout=timedelta(seconds=1), concurrency=5):
        adder = Adder(docket)
        for _ in range(12):
            await asyncio.sleep(random.uniform(0.02, 0.2))
            if random.random() < 0.5:
                store.proxy.cut()
            else:
                store.proxy.losing = 1
        store.proxy.losing = 0
        await all_end(docket, await adder.end())
    assert sum(starts.values()) - len(starts) <= 60  # only what was claimed at a cut may start again


async def test_case_21_a_store_that_answers_nothing_is_given_up_and_found_again(
    docket: Docket, store: Troubled
) -> None:
    async with working(docket, redelivery_timeout=LEASE, reconnection_delay=LEASE / 4) as worker:
        execution = await docket.add(note, key="before")("before")
        await within(execution.get_result())
        store.proxy.pause()
        began = time.monotonic()
        answers = await asyncio.gather(*(call() for call in everything(docket)), return_exceptions=True)
        assert time.monotonic() - began < 6
        assert {type(answer) for answer in answers} == {BackendUnavailable}
        await until(lambda: not worker.is_ready())
        store.proxy.go_on()
        healed = time.monotonic()
        later = await insist(lambda: docket.add(note, key="after")("after"))
        assert await within(later.get_result()) == "after"
        assert time.monotonic() - healed < RECOVERY
        await until(worker.is_ready)


def everything(docket: Docket) -> list[Callable[[], Awaitable[Any]]]:
    """What a user may ask of a docket."""
    return [
        lambda: docket.add(note, key="a")("a"),
        lambda: docket.replace(note, when=datetime.now(UTC), key="b")("b"),
        lambda: docket.cancel("c"),
        lambda: docket.get_execution("d"),
        docket.snapshot,
        docket.workers,
        docket.failed,
        docket.clear,
        lambda: docket.strike(note, "key", "==", "struck"),
    ]


async def test_case_21_a_run_whose_lease_cannot_be_renewed_ends_before_another_begins(
    docket: Docket, store: Troubled
) -> None:
    lease = timedelta(seconds=1)
    async with working(docket, redelivery_timeout=lease):
        SIGNALS["held"] = Signal()
        execution = await docket.add(hold, key="held")("held")
        await until(lambda: starts["held"] == 1)
        store.proxy.pause()
        paused = time.monotonic()
        await until(lambda: bool(cancelled))
        assert time.monotonic() - paused < lease.total_seconds() + 1
        async with opened(store.straight, docket.name) as other, working(other, redelivery_timeout=lease):
            await until(lambda: starts["held"] == 2, lease.total_seconds() + 2)
            store.proxy.go_on()
            SIGNALS["held"].give()
            assert await within(execution.get_result()) == "held"
    assert starts["held"] == 2
    assert cancelled == ["held"]


async def test_case_21_leaving_a_store_that_answers_nothing_takes_seconds_at_most(store: Troubled) -> None:
    async with opened(store.url, f"outage-{uuid4().hex}") as docket, working(docket, redelivery_timeout=LEASE):
        await within((await docket.add(note, key="a")("a")).get_result())
        waiting = asyncio.create_task((await docket.add(note, key="b", when=FAR)("b")).get_result())
        await asyncio.sleep(0.1)
        store.proxy.pause()
        left = time.monotonic()
    assert time.monotonic() - left < 5
    with pytest.raises((RuntimeError, BackendError)):
        await within(waiting)


async def test_case_21_a_worker_does_not_hammer_a_server_that_is_away(docket: Docket, store: Troubled) -> None:
    async with working(docket, redelivery_timeout=LEASE):
        await within((await docket.add(note, key="before")("before")).get_result())
        store.proxy.refuse()
        before = store.proxy.connections
        await asyncio.sleep(2)
        tries = store.proxy.connections - before
        store.proxy.accept()
        healed = time.monotonic()
        later = await insist(lambda: docket.add(note, key="after")("after"))
        assert await within(later.get_result()) == "after"
        assert time.monotonic() - healed < RECOVERY
    assert 2 <= tries <= 60, tries  # pauses that grow: of claims, acks, cancels, heartbeats, strikes, results


@pytest.mark.parametrize("operation", range(9))
async def test_case_21_an_answer_that_is_lost_is_no_drivers_error(
    docket: Docket, store: Troubled, operation: int
) -> None:
    """What was asked has been done; asked again, the answer is as good as the first would have been."""
    await docket.snapshot()
    store.proxy.losing = 1
    call = everything(docket)[operation]
    try:
        await within(call())
    except BackendUnavailable:
        await insist(call)
    assert store.proxy.losing == 0
    record = (await docket.backend.get(["a"]))[0]
    if operation == 0:
        assert record is not None
        assert record.live is not None
        assert record.live.generation == 1


async def test_case_21_a_late_answer_costs_time_only(docket: Docket, store: Troubled) -> None:
    store.proxy.delay = 0.02
    async with working(docket, redelivery_timeout=LEASE):
        executions = [await docket.add(note, key=key)(key) for key in "abc"]
        for execution in executions:
            assert await within(execution.get_result()) == execution.key
            assert execution.state is ExecutionState.COMPLETED
    assert set(starts.values()) == {1}


async def test_case_21_no_server_on_any_address_of_a_name(store: Troubled) -> None:
    """A name with several addresses fails several times; it is told as one known error."""
    async with troubled(store.kind, store.server) as other:
        port = other.proxy.port
    url = store.kind.url(port).replace("127.0.0.1", "localhost")
    with pytest.raises(BackendUnavailable):
        async with opened(url, "nowhere"):
            pass
