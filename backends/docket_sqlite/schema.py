"""The tables of docket-core in a SQLite file.

One row of `docket_tasks` is one part of a record: its `stage` says which. A key has at most one row in
`LIVE_STAGES`, one in `ENDED_STAGES` and one that is HELD. A row goes through its stages in place: a payload is written
once. The partial indexes are what a claim looks at: they hold the pending and the running, and nothing of what is
kept for readers.

Who opens a file that has its tables needs nothing of this: SQLAlchemy takes longer to import than the file to open.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from docket_sqlite.stages import PENDING, RUNNING

METADATA = MetaData()
_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite: only INTEGER PRIMARY KEY is the rowid itself

SCHEMA = Table("docket_schema", METADATA, Column("version", Integer, primary_key=True))

DOCKETS = Table(
    "docket_dockets",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("token", BigInteger, nullable=False, server_default=text("0")),  # the highest that was issued
    Column("sequence", BigInteger, nullable=False, server_default=text("0")),  # numbers what happens, in order
    Column("strikes", BigInteger, nullable=False, server_default=text("0")),  # counts strikes, without a gap
)

TASKS = Table(
    "docket_tasks",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("docket", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("function", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("acked", BigInteger, nullable=False),  # the token of the key's last applied ack
    Column("attempt", Integer, nullable=False),
    Column("delivery", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),  # the task's `when`
    Column("ready_at", BigInteger, nullable=False),  # with `seq` its place among its function's tasks
    Column("seq", BigInteger, nullable=False),
    Column("since", BigInteger),  # when it became pending, as `clear` counts, where that is not `seq`
    Column("gated", SmallInteger, nullable=False),  # 1: it may have permits or places in gates
    Column("top", BigInteger),  # HELD: the generation of its record
    Column("token", BigInteger),
    Column("worker", Text),
    Column("started_at", BigInteger),
    Column("lease_until", BigInteger),
    Column("takeover_at", BigInteger),  # RUNNING: from when another claim may take it
    Column("ends_at", BigInteger),  # the lease's end that ends it for good: holds, and requested cancels
    Column("cancel_requested", SmallInteger, nullable=False),
    Column("parked_at", BigInteger),
    Column("progress", BigInteger),
    Column("progress_total", BigInteger),
    Column("progress_message", Text),
    Column("progress_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("expires_at", BigInteger),  # ended parts: the end of their retention
    Column("error", Text),
    Column("reason", Text),
    Column("headers", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("result", LargeBinary),
)


def _partial(name: str, condition: str, *columns: str) -> Index:
    table = TASKS.c
    return Index(name, *(table[column] for column in columns), sqlite_where=text(condition))


BY_KEY = Index("docket_tasks_by_key", TASKS.c.docket, TASKS.c.key)
READY = _partial("docket_tasks_ready", f"stage = {PENDING}", "docket", "function", "ready_at", "seq")
LEASES = _partial("docket_tasks_leases", f"stage = {RUNNING}", "docket", "function", "takeover_at")
ENDINGS = _partial("docket_tasks_endings", "ends_at IS NOT NULL", "docket", "ends_at")
EXPIRING = _partial("docket_tasks_expiring", "expires_at IS NOT NULL", "docket", "expires_at")

GATES = Table(
    "docket_gates",
    METADATA,
    Column("docket", Integer, primary_key=True),
    Column("gate", Text, primary_key=True),
    Column("capacity", Integer, nullable=False),  # the newest request's limit
    sqlite_with_rowid=False,
)

PERMITS = Table(
    "docket_permits",
    METADATA,
    Column("docket", Integer, primary_key=True),
    Column("gate", Text, primary_key=True),
    Column("holder", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("task", BigInteger),  # the part it belongs to; NULL once its run is over
    Column("bound", SmallInteger, nullable=False),
    Column("extend", SmallInteger, nullable=False),
    Column("reserved", SmallInteger, nullable=False),  # taken by a claim; the task's own acquire is to come
    sqlite_with_rowid=False,
)
Index("docket_permits_live", PERMITS.c.docket, PERMITS.c.gate, PERMITS.c.expires_at)
Index("docket_permits_task", PERMITS.c.task)
Index("docket_permits_expiry", PERMITS.c.docket, PERMITS.c.expires_at)

PLACES = Table(
    "docket_places",
    METADATA,
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("gate", Text, primary_key=True),
    Column("place", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

REQUESTS = Table(
    "docket_requests",
    METADATA,
    Column("task", _ID, primary_key=True, autoincrement=False),
    Column("docket", Integer, nullable=False),
    Column("gate", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("parked", SmallInteger, nullable=False),  # 0: a claim has woken it, it has not acquired yet
    Column("capacity", Integer, nullable=False),  # the limit it asked for, should the gate be forgotten meanwhile
    Column("holder", Text, nullable=False),
    Column("ttl", BigInteger, nullable=False),
    Column("bound", SmallInteger, nullable=False),
    Column("extend", SmallInteger, nullable=False),
)
Index(
    "docket_requests_parked",
    REQUESTS.c.docket,
    REQUESTS.c.gate,
    REQUESTS.c.function,
    REQUESTS.c.place,
    sqlite_where=text("parked = 1"),
)

WAITING = Table(
    "docket_waiting",
    METADATA,
    Column("docket", Integer, primary_key=True),
    Column("gate", Text, primary_key=True),
    Column("function", Text, primary_key=True),  # such tasks are parked in the gate
    Column("wake_at", BigInteger, nullable=False),  # 0: a permit is free; else when the next one expires
    sqlite_with_rowid=False,
)
Index("docket_waiting_wake", WAITING.c.docket, WAITING.c.function, WAITING.c.wake_at)

WORKERS = Table(
    "docket_workers",
    METADATA,
    Column("docket", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("functions", Text, nullable=False),  # a JSON array
    Column("last_seen", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

STRIKES = Table(
    "docket_strikes",
    METADATA,
    Column("docket", Integer, primary_key=True),
    Column("rule_id", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),  # its place in the order of all strikes
    Column("instruction", LargeBinary, nullable=False),
    UniqueConstraint("docket", "number"),
    sqlite_with_rowid=False,
)

LISTENERS = Table(
    "docket_listeners",
    METADATA,
    Column("docket", Integer, primary_key=True),
    Column("port", Integer, primary_key=True),
    Column("events", Integer, nullable=False),  # what it wants to hear of: see `news.Wanted`
    Column("secret", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),  # seconds of the machine's clock
    sqlite_with_rowid=False,
)


def _ddl() -> tuple[str, ...]:
    dialect = sqlite.dialect()
    statements: list[str] = []
    for table in METADATA.sorted_tables:
        statements.append(str(CreateTable(table, if_not_exists=True).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index, if_not_exists=True).compile(dialect=dialect)) for index in indexes]
    return tuple(statements)


DDL = _ddl()
