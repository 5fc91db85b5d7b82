"""Cases 7 and 21: the store has done what was asked, and the answer is lost. Asked again, it answers as it must."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import uuid4

import pytest

from docket_core.backend.clock import SECOND, to_micros
from docket_core.backend.model import (
    Ack,
    Acked,
    CancelReply,
    Claim,
    EnqueueStatus,
    Gate,
    OnConflict,
    PermitRequest,
    PermitStatus,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
    Task,
)
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.backend.states import State
from docket_core.errors import BackendUnavailable
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.redis import RedisServer
from tests.support.troubled import KINDS, Kind, Troubled, troubled
from tests.support.workers import until_async, within

Answer = TypeVar("Answer")
LEASE = 30 * SECOND
SHORT = to_micros(timedelta(milliseconds=300))


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
async def backend(store: Troubled) -> AsyncIterator[Backend]:
    async with open_backend(store.url, f"lost-{uuid4().hex}") as opened:
        await opened.counts()
        yield opened


@pytest.fixture
def twice(store: Troubled) -> "Twice":
    return Twice(store)


class Twice:
    """Calls twice: the first answer is lost, the second comes."""

    def __init__(self, store: Troubled) -> None:
        self._proxy = store.proxy

    async def __call__(self, call: Callable[[], Awaitable[Answer]], *first: Callable[[], Awaitable[object]]) -> Answer:
        """`first` asks for the same of something else: scripts and statements are known to the server then, so that
        what is lost is the answer itself."""
        for other in first:
            await other()
        self._proxy.losing = 1
        with pytest.raises(BackendUnavailable):
            await within(call())
        assert self._proxy.losing == 0
        return await within(call())


def task(key: str) -> Task:
    return Task(key, "f", b"payload", f"run of {key}")


def stranger(key: str = "stranger") -> Claim:
    """A claim that nobody has."""
    return Claim(key, 1, 1, "f", b"", b"", "run", 0, 1, 1, 0, 0)


async def running(backend: Backend, key: str, lease: int = LEASE) -> Claim:
    await backend.enqueue([task(key)])
    [claim] = (await backend.claim("worker", None, 1, lease)).claims
    return claim


async def state_of(backend: Backend, key: str) -> list[object]:
    [record] = await backend.get([key])
    assert record is not None
    return [part and part.state for part in (record.live, record.last)]


async def test_case_21_an_add_whose_answer_is_lost(backend: Backend, twice: Twice) -> None:
    [added] = await twice(lambda: backend.enqueue([task("key")]), lambda: backend.enqueue([task("other")]))
    assert (added.status, added.run, added.generation) == (EnqueueStatus.ACCEPTED, "run of key", 1)
    newer = task("key")._replace(run="newer")
    [replaced] = await twice(
        lambda: backend.schedule([newer], OnConflict.REPLACE), lambda: backend.schedule([task("other")])
    )
    assert (replaced.status, replaced.run, replaced.generation) == (EnqueueStatus.ACCEPTED, "newer", 2)
    claims = (await backend.claim("worker", None, 5, LEASE)).claims
    assert sorted((claim.key, claim.run) for claim in claims) == [("key", "newer"), ("other", "run of other")]


async def test_case_21_a_claim_whose_answer_is_lost_comes_back_with_its_lease(backend: Backend, twice: Twice) -> None:
    await backend.enqueue([task("key")])
    claimed = await twice(
        lambda: backend.claim("worker", None, 1, SHORT), lambda: backend.claim("worker", None, 0, SHORT)
    )
    assert claimed.claims == []
    assert claimed.next_at is not None

    async def comes_back() -> bool:
        return [claim.delivery for claim in (await backend.claim("worker", None, 1, LEASE)).claims] == [2]

    await until_async(comes_back, 2)


@pytest.mark.parametrize("shape", ["complete", "fail", "retry", "release", "chain"])
async def test_case_07_an_ack_whose_answer_is_lost(backend: Backend, twice: Twice, shape: str) -> None:
    claim = await running(backend, "key")
    ack = {
        "complete": Ack.complete(claim, b"result"),
        "fail": Ack.fail(claim, "error"),
        "retry": Ack.retry(claim, attempt=2, delay=60 * SECOND),
        "release": Ack.release(claim),
        "chain": Ack.complete(claim, successor=task("key")._replace(run="next")),
    }[shape]
    acked = await twice(lambda: backend.ack([ack]), lambda: backend.ack([Ack.complete(stranger())]))
    assert acked == [Acked.ACKED]
    assert (
        await state_of(backend, "key")
        == {
            "complete": [None, State.COMPLETED],
            "fail": [None, State.FAILED],
            "retry": [State.SCHEDULED, None],
            "release": [State.QUEUED, None],
            "chain": [State.QUEUED, State.COMPLETED],
        }[shape]
    )


async def test_case_21_what_a_running_task_asks_for(backend: Backend, twice: Twice) -> None:
    claim, other = await running(backend, "key"), stranger()
    request = PermitRequest(claim, Gate("gate", 1), "key", LEASE, bound=True)
    strange = request._replace(claim=other)
    renewed = await twice(lambda: backend.renew([claim], LEASE), lambda: backend.renew([other], LEASE))
    assert renewed == [Renewal.RENEWED]
    [permit] = await twice(lambda: backend.acquire([request]), lambda: backend.acquire([strange]))
    assert permit.status is PermitStatus.HELD
    released = await twice(lambda: backend.release([request]), lambda: backend.release([strange]))
    assert released == [Released.ABSENT]
    update = ProgressUpdate(claim, total=5)
    told = await twice(lambda: backend.progress([update]), lambda: backend.progress([ProgressUpdate(other)]))
    assert told == [ProgressReply.RECORDED]
    assert await twice(lambda: backend.cancel(["key"]), lambda: backend.cancel(["other"])) == [CancelReply.REQUESTED]


async def test_case_21_what_else_is_asked_of_a_store(backend: Backend, twice: Twice) -> None:
    await backend.enqueue([task("a")])
    assert await twice(lambda: backend.cancel(["a"]), lambda: backend.cancel(["other"])) == [CancelReply.GONE]
    assert await twice(backend.clear, backend.clear, lambda: backend.enqueue([task("b")])) <= 1  # what was left
    assert await state_of(backend, "b") == [None, State.CANCELLED]
    strike, beat = partial(backend.strike, "rule"), partial(backend.heartbeat, functions=frozenset({"f"}), ttl=LEASE)
    await twice(partial(strike, b"instruction"), partial(strike, b"other"))
    await twice(partial(beat, "worker"), partial(beat, "other"))
    workers = await twice(backend.workers, backend.workers)
    assert sorted(worker.name for worker in workers) == ["other", "worker"]
    await twice(lambda: backend.retire("worker"), lambda: backend.retire("other"))
    assert await backend.workers() == []
    assert await twice(backend.counts, backend.counts) == []
    ended = partial(backend.scan, {State.CANCELLED}, 10)
    assert len((await twice(ended, ended)).records) == 2
    assert await twice(lambda: backend.prune(10), lambda: backend.prune(10)) == 0
