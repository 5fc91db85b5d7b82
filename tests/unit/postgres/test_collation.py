"""A database that sorts as people do: keys and locks are in byte order all the same."""

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Task
from docket_core.backend.registry import open_backend
from docket_core.backend.states import LIVE
from tests.support.servers.postgres import PostgresServer, ServerMissing, run_sql

KEYS = ["B", "a", "A", "ä", "b", "Z", "z", "é", "e", "_", "-", "0", "ß", "ss", "日本", "𝔘"]


async def test_keys_are_in_byte_order_whatever_the_collation() -> None:
    try:
        server = PostgresServer("15", locale="de-DE")
    except ServerMissing:
        pytest.skip("the wheel's servers know no other collation, and the system has no Postgres 15")
    with server:
        url = server.url()
        assert await run_sql(url, "select 'a' < 'B'") == [[True]]  # it is not the C collation
        async with open_backend(url, "Ärger") as backend:
            await backend.enqueue([Task(key, "f", b"", f"run of {key}") for key in KEYS])
            page = await backend.scan(LIVE, 5)
            told = [record.key for record in page.records]
            while page.after is not None:
                page = await backend.scan(LIVE, 5, page.after)
                told += [record.key for record in page.records]
            assert told == sorted(KEYS)
            claims = (await backend.claim("worker", None, 100, 30 * SECOND)).claims
            assert await backend.ack([Ack.retry(claim, attempt=2) for claim in claims]) == [Acked.ACKED] * len(KEYS)
            assert await backend.clear() == len(KEYS)
        [[untold]] = await run_sql(
            url,
            """select count(*) from information_schema.columns where table_schema = 'docket'
            and collation_name is null and column_name in ('key', 'docket', 'name', 'holder', 'run')""",
        )
        assert untold == 0
