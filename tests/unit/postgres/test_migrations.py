"""The schema: created by many at once, used by a role that may not change it, printed as SQL."""

import asyncio
import sys
from pathlib import Path

import asyncpg
import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Gate, PermitRequest, PermitStatus, ProgressUpdate, Task
from docket_core.backend.registry import open_backend
from docket_core.backend.states import LIVE
from docket_core.errors import BadOption, SchemaMismatch
from docket_postgres.migrations import VERSION, grants_sql, migrate, migration_sql
from tests.support.servers.postgres import run_sql

OPENS = """
import asyncio, sys
from docket_core.backend.model import Task
from docket_core.backend.registry import open_backend
from tests.support.servers.postgres import run_sql

async def main():
    async with open_backend(sys.argv[1], "race") as backend:
        [answer] = await backend.enqueue([Task(sys.argv[2], "f", b"", "run")])
        assert answer.status == "accepted", answer

asyncio.run(main())
"""


async def test_many_processes_open_an_empty_database_at_once(database: str, tmp_path: Path) -> None:
    script = tmp_path / "opens.py"
    script.write_text(OPENS)
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, str(script), database, f"key-{number}")
        for number in range(4)
    ]
    assert [await process.wait() for process in processes] == [0] * 4
    assert await run_sql(database, "select version, compatible from docket.version") == [[VERSION, 1]]
    assert await run_sql(database, "select count(*) from docket.task") == [[4]]


async def test_migrating_at_once_migrates_once(database: str) -> None:
    assert sorted(await asyncio.gather(*(migrate(database) for _ in range(5)))) == [False] * 4 + [True]
    assert await migrate(f"{database}?notify=false") is False


async def test_the_printed_sql_is_the_migration_and_can_be_run_again(database: str) -> None:
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(migration_sql())
        await connection.execute(migration_sql())
    finally:
        await connection.close()
    assert await migrate(database) is False
    async with open_backend(f"{database}?migrate=false", "d") as backend:
        assert len(await backend.enqueue([Task("key", "f", b"", "run")])) == 1


async def test_without_a_schema_and_without_the_right_to_make_one_it_says_what_to_do(database: str) -> None:
    with pytest.raises(SchemaMismatch, match="docket migrate"):
        async with open_backend(f"{database}?migrate=false", "d"):
            pass


async def test_a_newer_schema_is_refused(database: str) -> None:
    await migrate(database)
    await run_sql(database, "update docket.version set version = 99, compatible = 2")
    with pytest.raises(SchemaMismatch, match="version 99"):
        async with open_backend(database, "d"):
            pass


async def test_a_newer_schema_that_says_so_is_used_as_it_is(database: str) -> None:
    await migrate(database)
    await run_sql(database, "update docket.version set version = 99")
    async with open_backend(database, "d") as backend:
        assert await backend.counts() == []
    assert await run_sql(database, "select version from docket.version") == [[99]]


async def test_a_role_without_ddl_does_all_that_a_worker_does(database: str) -> None:
    """Least privilege: what `grants_sql` names, and nothing more, on a prepared schema."""
    await migrate(database)
    role = f"plain_{database.rpartition('_')[2]}"
    await run_sql(database, f"create role {role} login", "revoke create on schema public from public")
    connection = await asyncpg.connect(database)
    await connection.execute(grants_sql(role))
    await connection.close()
    try:
        async with open_backend(database.replace("postgres@", f"{role}@"), "d", retention=0) as backend:
            await backend.enqueue([Task("key", "f", b"", "run")])
            await backend.schedule([Task("later", "f", b"", "run", delay=60 * SECOND)])
            claimed = await backend.claim("worker", {"f"}, 10, 30 * SECOND, 3)
            [claim] = claimed.claims
            [permit] = await backend.acquire([PermitRequest(claim, Gate("gate", 1), "key", SECOND, bound=True)])
            assert permit.status is PermitStatus.GRANTED
            await backend.progress([ProgressUpdate(claim, 1)])
            await backend.renew([claim], 30 * SECOND)
            await backend.heartbeat("worker", {"f"}, SECOND)
            await backend.strike("rule", b"instruction")
            assert await backend.ack([Ack.complete(claim)]) == [Acked.ACKED]
            assert [record.key for record in (await backend.scan(LIVE, 10)).records] == ["later"]
            assert await backend.clear() == 1
            await backend.retire("worker")
            await backend.prune(100)
    finally:
        await run_sql(database, f"drop owned by {role}", f"drop role {role}")


async def test_a_role_without_rights_is_told_so(database: str) -> None:
    await migrate(database)
    role = f"bare_{database.rpartition('_')[2]}"
    await run_sql(database, f"create role {role} login")
    try:
        with pytest.raises(SchemaMismatch, match="docket migrate"):
            async with open_backend(database.replace("postgres@", f"{role}@"), "d"):
                pass
    finally:
        await run_sql(database, f"drop role {role}")


async def test_two_schemas_in_one_database_share_nothing(database: str) -> None:
    async with (
        open_backend(f"{database}?schema=one", "d") as one,
        open_backend(f"{database}?schema=Two", "d") as two,
    ):
        await one.enqueue([Task("key", "f", b"", "run")])
        assert await two.get(["key"]) == [None]
        assert (await two.claim("worker", None, 1, SECOND)).claims == []
    assert await migrate(database, "one") is False


@pytest.mark.parametrize("name", ['a"b', "a b", "1a", "a;drop", "x" * 64, "ä"])
def test_a_schema_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(BadOption, match="schema"):
        open_backend(f"postgresql://localhost/x?schema={name}", "d")
    with pytest.raises(BadOption, match="schema"):
        migration_sql(name)


async def test_wiped_tables_are_made_again(database: str) -> None:
    """A live worker goes on with an empty store when somebody drops the schema under it."""
    async with open_backend(database, "d") as backend:
        await backend.enqueue([Task("key", "f", b"", "run")])
        await run_sql(database, "drop schema docket cascade")
        assert (await backend.claim("worker", None, 1, SECOND)).claims == []
        [answer] = await backend.enqueue([Task("key", "f", b"", "run")])
        assert answer.status == "accepted"
        assert [claim.key for claim in (await backend.claim("worker", None, 1, SECOND)).claims] == ["key"]
