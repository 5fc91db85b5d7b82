"""How long a statement may take."""

import asyncio

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
        patient = asyncio.ensure_future(connections.fetch("select 1 from pg_sleep(0.5)", patience=50.0))
        with pytest.raises(BackendUnavailable, match=r"no answer within 0\.2 s"):
            await connections.fetch("select 1 from pg_sleep(60)")
        assert not patient.done()
        assert [row[0] for row in await patient] == [1]
        assert [row[0] for row in await connections.fetch("select 2")] == [2]
    finally:
        await connections.close()
