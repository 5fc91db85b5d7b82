"""`max_tasks`: a full memory store refuses what would make it grow, and still drains."""

from collections.abc import AsyncIterator

import pytest

from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.model import Ack, Acked, CancelReply, EnqueueStatus, OnConflict, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.errors import BadOption, Overloaded


def task(key: str, run: str = "") -> Task:
    return Task(key, "f", b"", run or f"run of {key}")


@pytest.fixture
async def full() -> AsyncIterator[Backend]:
    """A store for two live tasks that holds two."""
    async with open_backend("memory://limit?max_tasks=2", "limit", clock=ManualClock(), retention=0) as backend:
        answers = await backend.enqueue([task("a"), task("b")])
        assert {answer.status for answer in answers} == {EnqueueStatus.ACCEPTED}
        yield backend
        await backend.clear()


async def test_a_new_task_is_refused_and_nothing_of_it_is_written(full: Backend) -> None:
    refused = (await full.enqueue([task("c")]))[0]
    assert refused.status is EnqueueStatus.REFUSED
    assert isinstance(refused.error, Overloaded)
    assert "2 live tasks (max_tasks)" in str(refused.error)
    assert await full.get(["c"]) == [None]


async def test_what_does_not_grow_the_store_is_taken(full: Backend) -> None:
    again, kept, replaced = await full.enqueue([task("a"), task("a", "other"), task("c")])
    assert (again.status, kept.status) == (EnqueueStatus.ACCEPTED, EnqueueStatus.EXISTS)
    assert replaced.status is EnqueueStatus.REFUSED
    newer = (await full.schedule([task("b", "newer")], OnConflict.REPLACE))[0]
    assert (newer.status, newer.run) == (EnqueueStatus.ACCEPTED, "newer")


async def test_it_drains_by_acks_and_cancels(full: Backend) -> None:
    claims = (await full.claim("w", None, 1, 30 * SECOND)).claims
    successor = task(claims[0].key, "the next")
    assert await full.ack([Ack.complete(claims[0], successor=successor)]) == [Acked.ACKED]
    assert (await full.enqueue([task("c")]))[0].status is EnqueueStatus.REFUSED
    assert await full.cancel(["a"]) == [CancelReply.CANCELLED]
    assert (await full.enqueue([task("c")]))[0].status is EnqueueStatus.ACCEPTED
    assert (await full.enqueue([task("d")]))[0].status is EnqueueStatus.REFUSED


async def test_a_batch_is_taken_as_far_as_there_is_room() -> None:
    async with open_backend("memory://limit?max_tasks=2", "batch", clock=ManualClock()) as backend:
        answers = await backend.enqueue([task(key) for key in "abc"])
        assert [answer.status.value for answer in answers] == ["accepted", "accepted", "refused"]
        assert await backend.clear() == 2


@pytest.mark.parametrize("value", ["0", "-1", "many", ""])
def test_a_limit_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadOption, match=r"max_tasks.*whole number of at least 1"):
        open_backend(f"memory://limit?max_tasks={value}", "limit")
