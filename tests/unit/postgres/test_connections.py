"""How long a statement may take."""

import asyncio
import time

import pytest

from docket_core.errors import BackendUnavailable
from docket_postgres.connections import Connections
from docket_postgres.settings import Settings


@pytest.mark.parametrize("prepared", [True, False])
async def test_each_statement_has_a_time_of_its_own(database: str, prepared: bool) -> None:
    """One that may take long does not lengthen that of one that may not, nor is it cut off with it."""
    settings = Settings(
        database, database, "d", "docket", notify=False, prepared=prepared, pool=2, timeout=0.2, migrate=True
    )
    connections = Connections(settings, 2)
    try:
        patient = asyncio.ensure_future(connections.fetch("select 1 from pg_sleep(0.5)", (), patience=50.0))
        with pytest.raises(BackendUnavailable, match=r"no answer within 0\.2 s"):
            await connections.fetch("select 1 from pg_sleep(60)", ())
        assert not patient.done()
        assert [row[0] for row in await patient] == [1]
        assert [row[0] for row in await connections.fetch("select 2", ())] == [2]
    finally:
        await connections.close()


async def test_a_loop_that_is_blocked_costs_no_connection(database: str) -> None:
    """The answer was there in time; it was only not looked at."""
    settings = Settings(
        database, database, "d", "docket", notify=False, prepared=True, pool=1, timeout=0.2, migrate=True
    )
    connections = Connections(settings, 1)
    try:
        [[session]] = await connections.fetch("select pg_backend_pid()", ())
        under_way = asyncio.ensure_future(connections.fetch("select pg_backend_pid()", ()))
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - as a task's body may do that should be a thread's
        assert [row[0] for row in await under_way] == [session]
        assert [row[0] for row in await connections.fetch("select pg_backend_pid()", ())] == [session]
    finally:
        await connections.close()
