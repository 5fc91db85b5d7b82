"""Case 26: accounts that may do no more than the documents say run a whole docket."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from docket_core import (
    ConcurrencyLimit,
    Docket,
    ExecutionCancelled,
    ExecutionProgress,
    Perpetual,
    Progress,
    Retry,
)
from docket_core.codec import JsonCodec
from docket_postgres.migrations import grants_sql, migrate
from tests.support.servers.postgres import run_sql, shared_postgres_url
from tests.support.servers.redis import RedisServer, binaries
from tests.support.workers import Signal, until, within, working

ROOT = Path(__file__).resolve().parents[2]
NAME = "orders"
entered = Signal()
rounds: list[int] = []


async def note(key: str, progress: ExecutionProgress = Progress()) -> str:
    await progress.increment()
    return key


async def stumble(retry: Retry = Retry(attempts=3)) -> int:
    if retry.attempt < 2:
        raise ValueError("once more")
    return retry.attempt


async def hold() -> None:
    entered.give()
    await asyncio.sleep(60)


async def alone(number: int, limit: ConcurrencyLimit = ConcurrencyLimit(max_concurrent=1)) -> int:
    await asyncio.sleep(0.01)
    return number


async def again(number: int, perpetual: Perpetual = Perpetual()) -> None:
    rounds.append(number)
    if number < 3:
        perpetual.perpetuate(number + 1)
    else:
        perpetual.cancel()


TASKS = (note, stumble, hold, alone, again)


@pytest.fixture(scope="module", params=sorted(binaries()), ids=lambda release: f"redis-{release}")
def redis(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server with the account that docs/redis.md names."""
    found = re.search(r"^ACL SETUSER .*?(?=^```)", (ROOT / "docs/redis.md").read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    with RedisServer(binaries()[request.param]) as server:
        server.command(*found[0].replace("{name}", f"{{{NAME}}}").split())
        yield server.url.replace("redis://", "redis://worker:secret@")


@pytest.fixture
async def postgres() -> AsyncIterator[str]:
    """A prepared database, and a role with the grants that `docket migrate` prints."""
    server = shared_postgres_url()
    name = f"plain_{uuid4().hex}"
    await run_sql(server, f"create database {name}", f"create role {name} login")
    database = f"{server.rpartition('/')[0]}/{name}"
    await migrate(database)
    connection = await asyncpg.connect(database)
    await connection.execute(grants_sql(name))
    await connection.execute("revoke create on schema public from public")
    await connection.close()
    yield f"{database.replace('postgres@', f'{name}@')}?migrate=false"
    await run_sql(server, f"drop database {name} with (force)", f"drop role {name}")


async def all_of_it(url: str) -> None:
    """What a worker and its users do."""
    global entered  # noqa: PLW0603 - the task function reaches it, and each test has its own
    entered = Signal()
    rounds.clear()
    async with Docket(NAME, url, codec=JsonCodec()) as docket:
        for task in TASKS:
            docket.register(task)
        async with working(docket, redelivery_timeout=timedelta(seconds=1)):
            noted = await docket.add(note, key="noted")("noted")
            assert await within(noted.get_result()) == "noted"
            assert await within((await docket.add(stumble)()).get_result()) == 2
            queue = [await docket.add(alone)(number) for number in range(3)]
            assert [await within(one.get_result()) for one in queue] == [0, 1, 2]
            await docket.add(again, key="again")(0)
            await until(lambda: rounds == [0, 1, 2, 3])
            held = await docket.add(hold, key="held")()
            await entered.seen()
            await docket.cancel("held")
            with pytest.raises(ExecutionCancelled):
                await within(held.get_result())
            await docket.strike("stumble")
            struck = await docket.add(stumble, key="struck")()
            await docket.restore("stumble")
            assert (await docket.snapshot()).total_tasks == 0
            assert await docket.get_execution(struck.key) is None
            assert await docket.workers()
            assert await docket.clear() == 0


async def test_case_26_a_redis_account_limited_to_the_docket_is_enough(redis: str) -> None:
    await all_of_it(redis)


async def test_case_26_a_postgres_role_without_ddl_is_enough(postgres: str) -> None:
    await all_of_it(postgres)
