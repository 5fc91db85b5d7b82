"""Transactional enqueue: tasks that join the caller's own transaction."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from docket_core.backend.clock import SECOND
from docket_core.backend.model import EnqueueStatus, OnConflict
from docket_core.backend.states import State
from docket_core.conformance.caller import connect_by_sqlalchemy
from docket_core.conformance.marks import Requirements, needs_connect, needs_transactional
from docket_core.conformance.subject import LEASE, Subject, started, within
from docket_core.errors import BackendUnavailable, ConfigurationError

ACCEPTED, EXISTS, REFUSED = EnqueueStatus.ACCEPTED, EnqueueStatus.EXISTS, EnqueueStatus.REFUSED


async def rows_of(connection: AsyncConnection, table: str) -> list[str]:
    return [str(row[0]) for row in await connection.execute(text(f"SELECT name FROM {table}"))]


@needs_transactional
@needs_connect
class TestTransactions(Requirements):
    async def test_commit_makes_them_ready(self, subject: Subject) -> None:
        """Tasks join the caller's own transaction: nobody sees them before it is committed."""
        other = await subject.another()
        async with subject.connect() as connection:
            async with subject.backend.join(connection) as joined:
                [now] = await joined.enqueue([subject.task("now")])
                [later] = await joined.schedule([subject.task("later", delay=SECOND)])
            assert [(answer.status, answer.generation) for answer in (now, later)] == [(ACCEPTED, 1)] * 2
            assert later.when == subject.now + SECOND
            assert list(await other.get(["now", "later"])) == [None, None]
            await connection.commit()
        assert await subject.states("now", "later") == [State.QUEUED, State.SCHEDULED]
        await subject.take("now", by=other)
        await subject.advance(SECOND)
        await subject.take("later", by=other)

    async def test_rollback_leaves_no_trace(self, subject: Subject) -> None:
        """Rollback leaves no trace: not of an add, and not of a replace."""
        await subject.later("pending")
        before = await subject.record("pending")
        async with subject.connect() as connection:
            async with subject.backend.join(connection) as joined:
                await joined.enqueue([subject.task("key")])
                await joined.enqueue([subject.task("pending")], OnConflict.REPLACE)
            await connection.rollback()
        assert await subject.record("key") is None
        assert await subject.record("pending") == before
        assert await subject.claim() == []
        [again] = await subject.add("key")
        assert again.generation == 1

    async def test_tasks_and_rows_are_one_transaction(self, subject: Subject) -> None:
        """The caller's rows and the tasks are there together or not at all."""
        table = "conformance_" + "".join(letter for letter in subject.name if letter.isalnum())
        async with subject.connect() as connection:
            await connection.execute(text(f"CREATE TABLE {table} (name VARCHAR(80))"))
            await connection.commit()
            try:
                for outcome in ("rolled back", "committed"):
                    await connection.execute(text(f"INSERT INTO {table} VALUES ('{outcome}')"))
                    async with subject.backend.join(connection) as joined:
                        await joined.enqueue([subject.task(outcome)])
                    await (connection.commit() if outcome == "committed" else connection.rollback())
                assert await rows_of(connection, table) == ["committed"]
                await connection.rollback()
                assert [claim.key for claim in await subject.claim()] == ["committed"]
            finally:
                await connection.execute(text(f"DROP TABLE {table}"))
                await connection.commit()

    async def test_the_rules_are_those_of_enqueue(self, subject: Subject) -> None:
        """KEEP, REPLACE, repeated runs and refused items are answered as ever; a refusal spoils nothing."""
        await subject.later("kept")
        await subject.later("replaced")
        repeated = subject.task("repeated")
        async with subject.connect() as connection:
            async with subject.backend.join(connection) as joined:
                answers = list(
                    await joined.enqueue([subject.task("kept"), subject.task("bad\nkey"), repeated, repeated])
                )
                answers += await joined.enqueue([subject.task("replaced")], OnConflict.REPLACE)
                answers += await joined.enqueue([])
                own = repeated._replace(key=repeated.run)
                assert await joined.enqueue([own]) == await joined.enqueue([own])
            await connection.commit()
        assert [answer.status for answer in answers] == [EXISTS, REFUSED, ACCEPTED, ACCEPTED, ACCEPTED]
        assert [answer.generation for answer in answers[-2:]] == [1, 2]
        assert {claim.key for claim in await subject.claim()} == {"repeated", repeated.run, "replaced"}

    async def test_commit_wakes(self, subject: Subject) -> None:
        """Workers are woken once it is committed."""
        other = await subject.another()
        claimed = await other.claim("worker", None, 1, LEASE)
        async with subject.connect() as connection:
            async with subject.backend.join(connection) as joined:
                await joined.enqueue([subject.task("key")])
            waiting = started(other.wait(None, claimed.mark, None))
            await connection.commit()
        if not subject.backend.capabilities.push:
            await subject.advance(2 * SECOND)
        await within(waiting)
        await subject.take("key", by=other)

    async def test_uncommitted_key_blocks_other_adds_of_it(self, subject: Subject) -> None:
        """An uncommitted key blocks other adds of it: the commit or rollback decides what they find."""
        other = await subject.another()
        async with subject.connect() as connection:
            for committed in (False, True):
                mine, theirs = subject.task("key"), subject.task("key")
                async with subject.backend.join(connection) as joined:
                    await joined.enqueue([mine])
                adding = started(other.enqueue([theirs]))
                await asyncio.wait({adding}, timeout=0.05)
                assert not adding.done(), "another add of an uncommitted key was answered before the commit"
                await (connection.commit() if committed else connection.rollback())
                [answer] = await within(adding)
                assert (answer.status, answer.run) == ((EXISTS, mine.run) if committed else (ACCEPTED, theirs.run))
                await subject.end(await subject.take("key"))

    async def test_lock_timeout_bounds_the_wait(self, subject: Subject) -> None:
        """A lock timeout bounds the wait: what gave up has written nothing, and may be repeated."""
        other = await subject.another()
        task = subject.task("key")
        async with subject.connect() as connection:
            async with subject.backend.join(connection) as joined:
                await joined.enqueue([subject.task("key")])
            adding = started(other.enqueue([task]))
            try:
                with pytest.raises(BackendUnavailable):
                    await within(adding)
            finally:
                await connection.rollback()
        assert await subject.record() is None
        [answer] = await other.enqueue([task])
        assert answer.status is ACCEPTED

    async def test_another_database_is_refused(self, subject: Subject) -> None:
        """Docket's tables live in that very database, else an early error."""
        async with connect_by_sqlalchemy("sqlite+aiosqlite://")() as elsewhere:
            with pytest.raises(ConfigurationError):
                async with subject.backend.join(elsewhere) as joined:
                    await joined.enqueue([subject.task("key")])
        assert await subject.record() is None
