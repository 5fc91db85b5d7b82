"""The plans of the statements that must not slow down with what else is in the file."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from docket_core.backend.protocol import Backend
from docket_sqlite import claiming, clearing, ending, gates, parts, readers

STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": sql
    for module in (claiming, clearing, ending, gates, parts, readers)
    for name, sql in vars(module).items()
    if isinstance(sql, str) and re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)\s", sql)
}
WHOLE_TABLES: set[str] = set()
"""Statements that may look at all of a table."""


@pytest.fixture
def connection(backend: Backend, path: Path) -> Iterator[sqlite3.Connection]:
    assert backend.capabilities.durable
    opened = sqlite3.connect(path)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - WHOLE_TABLES))
def test_no_statement_scans_a_table(connection: sqlite3.Connection, name: str) -> None:
    sql = STATEMENTS[name]
    numbered = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    count = max(numbered) if numbered else sql.count("?")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * count)]
    scans = [
        line for line in plan if re.match(r"SCAN docket_\w+|SCAN (task|hold|behind)\b", line) and "USING" not in line
    ]
    assert not scans, plan
    sorts = [line for line in plan if "USE TEMP B-TREE FOR ORDER BY" in line]
    assert not sorts or name in SMALL, plan


SMALL = {"readers.KEYS_RUNNING", "clearing.PARKED_AFTER", "readers.KEYS_IN_STAGES"}
"""They sort what is small: running tasks, a portion."""
