"""`docket migrate`, on a real Postgres, and where there is nothing to migrate."""

import asyncio

from docket_core import Docket
from docket_core.cli.exit_codes import ExitCode
from tests.support.command import Command
from tests.support.servers.postgres import shared_postgres_url


def test_the_schema_is_made_once(docket: Command) -> None:
    url = f"{shared_postgres_url('16')}?schema=by_hand&migrate=false"
    assert docket("migrate", "--url", url, "--json").json == {"url": url, "changed": True}
    assert "up to date" in docket("migrate", "--url", url).out
    assert docket("snapshot", "--url", url, "--json").json["total_tasks"] == 0


def test_what_is_printed_makes_it_and_runs_nothing(docket: Command) -> None:
    url = f"{shared_postgres_url('16')}?schema=from_text"
    said = docket("migrate", "--url", url, "--sql")
    assert said.code == 0
    assert 'create schema "from_text"' in said.out
    assert 'to "ann"' in docket("migrate", "--url", url, "--grants", "ann").out
    refused = docket("snapshot", "--url", f"{url}&migrate=false")
    assert refused.code == ExitCode.UNAVAILABLE


def test_a_store_without_a_schema_says_so(docket: Command) -> None:
    said = docket("migrate", "--url", "redis://localhost")
    assert said.code == ExitCode.USAGE
    assert "needs no migration" in said.err


def test_the_printed_text_is_whole(docket: Command) -> None:
    """Run by hand, it serves a docket that may change nothing."""
    import asyncpg

    base = shared_postgres_url("16")
    text = docket("migrate", "--url", f"{base}?schema=printed", "--sql").out

    async def use() -> int:
        connection = await asyncpg.connect(base)
        try:
            await connection.execute(text)
        finally:
            await connection.close()
        async with Docket("orders", f"{base}?schema=printed&migrate=false") as opened:
            return (await opened.snapshot()).total_tasks

    assert asyncio.run(use()) == 0
