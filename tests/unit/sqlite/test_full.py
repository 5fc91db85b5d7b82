"""A store without room refuses new tasks, and ends those it has."""

import shutil
from pathlib import Path

import pytest

from docket_core.backend.model import Ack, Acked, EnqueueStatus, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import open_backend
from docket_core.errors import Overloaded
from tests.unit.sqlite.conftest import Open

LEASE = 30_000_000


async def fill(backend: Backend, payload: bytes) -> int:
    """Adds until the store refuses; how many it took."""
    taken = 0
    while True:
        tasks = [Task(f"key-{taken + number:08}", "f", payload, f"run-{taken + number:08}") for number in range(50)]
        answers = await backend.enqueue(tasks)
        taken += sum(answer.status is EnqueueStatus.ACCEPTED for answer in answers)
        refused = [answer for answer in answers if answer.status is EnqueueStatus.REFUSED]
        if refused:
            assert isinstance(refused[0].error, Overloaded)
            return taken


async def drain(backend: Backend) -> int:
    ended = 0
    while claims := (await backend.claim("worker", {"f"}, 100, LEASE)).claims:
        answers = await backend.ack([Ack.complete(claim, b"r" * 50) for claim in claims])
        assert set(answers) == {Acked.ACKED}
        ended += len(claims)
    return ended


@pytest.mark.parametrize("payload", [b"", b"p" * 100, b"p" * 20_000], ids=["none", "small", "large"])
async def test_a_file_at_its_max_size_drains_and_keeps_what_ended(opener: Open, payload: bytes) -> None:
    async with opener("max_size=1M") as backend:
        taken = await fill(backend, payload)
        assert taken > 10
        assert await drain(backend) == taken
        assert (await backend.enqueue([Task("more", "f", payload, "more")]))[0].status is EnqueueStatus.REFUSED


async def test_it_takes_tasks_again_once_the_ended_are_forgotten(opener: Open) -> None:
    async with opener("max_size=1M", retention=0) as backend:
        taken = await fill(backend, b"p" * 100)
        assert await drain(backend) == taken
        assert await fill(backend, b"p" * 100) == pytest.approx(taken, rel=0.1)


async def test_one_large_batch_does_not_eat_the_reserve(opener: Open) -> None:
    async with opener("max_size=2M") as backend:
        tasks = [Task(f"k{number}", "f", b"p" * 10_000, f"r{number}") for number in range(1000)]
        answers = await backend.enqueue(tasks)
        taken = sum(answer.status is EnqueueStatus.ACCEPTED for answer in answers)
        assert 10 < taken < 150
        assert await drain(backend) == taken


async def test_what_retention_has_released_makes_room_for_an_ack(opener: Open) -> None:
    async with opener("max_size=1M", retention=1) as backend:
        await backend.enqueue([Task(f"k{number}", "f", b"p" * 4000, f"r{number}") for number in range(40)])
        for _ in range(3):
            for claim in (await backend.claim("w", {"f"}, 100, LEASE)).claims:
                assert await backend.ack([Ack.complete(claim, b"r" * 60_000)]) == [Acked.ACKED]


async def test_a_full_disk_answers_clearly_and_loses_nothing(small_disk: Path) -> None:
    async with open_backend(f"sqlite:///{small_disk}/docket.db", "d") as backend:
        taken = await fill(backend, b"p" * 100)
        (small_disk / "filler").write_bytes(b"x" * (shutil.disk_usage(small_disk).free))
        refused = (await backend.enqueue([Task("more", "f", b"", "more")]))[0]
        assert isinstance(refused.error, Overloaded)
        (small_disk / "filler").unlink()
        assert sum(row.queued for row in await backend.counts()) == taken
    async with open_backend(f"sqlite:///{small_disk}/docket.db", "d") as backend:
        claims = (await backend.claim("w", {"f"}, 100, LEASE)).claims
        assert len(claims) == 100
        assert set(await backend.ack([Ack.complete(claim) for claim in claims])) == {Acked.ACKED}
