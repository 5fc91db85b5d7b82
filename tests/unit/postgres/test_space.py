"""What a docket takes, and that it gives it all back."""

import asyncpg

from docket_core.backend.clock import SECOND, ManualClock
from docket_core.backend.model import Ack, Gate, OnConflict, PermitRequest, ProgressUpdate, Task
from docket_core.backend.records import Topic
from docket_core.backend.registry import open_backend
from docket_core.ids import uuid7
from tests.support.servers.postgres import run_sql

TABLES = ("task", "aside", "gate", "gate_fn", "permit", "worker", "watcher", "strike")
HOUR = 3600 * SECOND


async def rows(url: str) -> dict[str, object]:
    """How many rows each table has, of those that have any."""
    counts = ", ".join(f"(select count(*) from docket.{table})" for table in TABLES)
    [row] = await run_sql(url, f"select {counts}")
    return {table: count for table, count in zip(TABLES, row, strict=True) if count}


async def test_after_all_work_and_retention_nothing_is_left(database: str) -> None:
    clock = ManualClock()
    async with open_backend(database, "empty", clock=clock) as backend:
        await backend.enqueue([Task(f"key-{number}", "f", b"", f"run-{number}") for number in range(12)])
        async with backend.subscribe({Topic.STATE, Topic.PROGRESS}, None):
            claims = (await backend.claim("worker", None, 8, 30 * SECOND)).claims
        gate = Gate("gate", 1)
        requests = [PermitRequest(claim, gate, claim.key, 30 * SECOND, bound=True) for claim in claims[:3]]
        await backend.acquire(requests)
        await backend.acquire([PermitRequest(claims[3], Gate("rate", 9), "holder", HOUR)])
        await backend.progress([ProgressUpdate(claims[0], 1, message="half")])
        await backend.enqueue([Task(claims[4].key, "f", b"", "newer")], OnConflict.REPLACE)
        await backend.cancel([claims[5].key])
        await backend.ack(
            [
                Ack.complete(claims[0], b"result"),
                Ack.park(claims[1], requests[1]),
                Ack.park(claims[2], requests[2]),
                Ack.complete(claims[3], successor=Task(claims[3].key, "f", b"", "next")),
                Ack.retry(claims[6], attempt=2, delay=SECOND),
                Ack.release(claims[7]),
            ]
        )
        await backend.heartbeat("worker", {"f"}, 10 * SECOND)
        await backend.strike("rule", b"instruction")
        await backend.strike("rule", None)
        assert (await rows(database)).keys() == {"task", "aside", "gate", "permit", "gate_fn", "worker", "strike"}
        clock.advance(HOUR)
        while claims := (await backend.claim("worker", None, 100, 30 * SECOND)).claims:
            await backend.ack([Ack.complete(claim) for claim in claims])
        clock.advance(HOUR)
        await backend.prune(1000)
        await run_sql(database, "update docket.strike set at = 0")
        assert await backend.prune(1000) == 0
    assert await rows(database) == {}


async def test_retention_zero_leaves_nothing_at_once(database: str) -> None:
    async with open_backend(database, "zero", retention=0) as backend:
        await backend.enqueue([Task("key", "f", b"", "run")])
        [claim] = (await backend.claim("worker", None, 1, 30 * SECOND)).claims
        await backend.ack([Ack.complete(claim, b"result")])
    assert await rows(database) == {}


async def test_bytes_per_queued_task(database: str) -> None:
    """At most 450 bytes with its indexes, for a payload of a small int and a small str."""
    async with open_backend(database, "docket") as backend:
        for _ in range(10):
            await backend.enqueue([Task(uuid7(), "tasks.send", b"x" * 80, uuid7(), b"{}") for _ in range(500)])
        [[size]] = await run_sql(database, "select pg_total_relation_size('docket.task') / 5000")
    assert isinstance(size, int)
    assert size <= 450


async def test_no_connection_is_left_behind(database: str) -> None:
    async with open_backend(database, "sessions") as backend:
        claimed = await backend.claim("worker", None, 1, SECOND)
        await backend.wait(None, claimed.mark, claimed.now + SECOND // 10)
        async with backend.subscribe({Topic.STATE}, None), backend.strikes():
            pass
    connection = await asyncpg.connect(database)
    try:
        sql = """select count(*) from pg_stat_activity
            where application_name like 'docket%' and datname = current_database()"""
        for _ in range(100):
            if await connection.fetchval(sql) == 0:
                return
        raise AssertionError("sessions are left")
    finally:
        await connection.close()
