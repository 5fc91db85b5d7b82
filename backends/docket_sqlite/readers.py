"""Readers: what is kept, who works, what is struck. They run on a connection of their own and stall nobody."""

import json
import sqlite3
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import Micros
from docket_core.backend.records import FunctionCounts, Page, Record, WorkerRecord
from docket_core.backend.states import State
from docket_core.errors import BackendUnavailable
from docket_sqlite.connection import File
from docket_sqlite.failures import is_missing_table, translate
from docket_sqlite.lane import Job, Outcome
from docket_sqlite.parts import findable
from docket_sqlite.rows import RECORD_COLUMNS, records
from docket_sqlite.stages import BEHIND, HELD, PARKED, PENDING, RUNNING, STAGE_OF_END
from docket_sqlite.transaction import Executor, OwnConnection

_COLUMNS = ", ".join(f"task.{name}" for name in RECORD_COLUMNS)
BY_KEYS = f"""
SELECT {_COLUMNS} FROM json_each(?1) AS wanted CROSS JOIN docket_tasks AS task
WHERE task.docket = ?2 AND task.key = wanted.value
"""
KEYS_IN_STAGES = """
SELECT DISTINCT key FROM docket_tasks
WHERE docket = ?1 AND key > ?2 AND stage IN (SELECT value FROM json_each(?3)) AND (
    (stage IN (4, 5, 6) AND expires_at > ?4) OR (stage = 7 AND lease_until > ?4) OR stage IN (1, 3)
    OR (stage IN (0, 2) AND ((?5 AND due_at > ?4) OR (?6 AND due_at <= ?4)))
)
ORDER BY key LIMIT ?7
"""
KEYS_RUNNING = f"""
SELECT key FROM docket_tasks WHERE docket = ?1 AND stage = {RUNNING} AND key > ?2
UNION
SELECT key FROM docket_tasks
WHERE docket = ?1 AND ends_at IS NOT NULL AND ends_at > ?3 AND stage = {HELD} AND key > ?2
ORDER BY 1 LIMIT ?4
"""
COUNTS = f"""
SELECT function, sum(ready_at > ?2), sum(ready_at <= ?2), 0, 0
FROM docket_tasks WHERE docket = ?1 AND stage = {PENDING} GROUP BY function
UNION ALL
SELECT function, 0, 0, count(*), 0 FROM docket_tasks WHERE docket = ?1 AND stage = {RUNNING} GROUP BY function
UNION ALL
SELECT function, 0, 0, 1, 0 FROM docket_tasks
WHERE docket = ?1 AND ends_at IS NOT NULL AND ends_at > ?2 AND stage = {HELD}
UNION ALL
SELECT behind.function, behind.due_at > ?2, behind.due_at <= ?2, 0, 0
FROM docket_tasks AS hold CROSS JOIN docket_tasks AS behind
WHERE hold.docket = ?1 AND hold.ends_at IS NOT NULL AND hold.stage = {HELD}
AND behind.docket = ?1 AND behind.key = hold.key AND behind.stage = {BEHIND}
UNION ALL
SELECT function, 0, 0, 0, count(*) FROM docket_requests WHERE docket = ?1 AND parked = 1 GROUP BY function
"""
WORKERS = "SELECT name, functions, last_seen FROM docket_workers WHERE docket = ? AND expires_at > ? ORDER BY name"
RULES = "SELECT number, rule_id, instruction FROM docket_strikes WHERE docket = ? ORDER BY number"
STRIKES = "SELECT strikes FROM docket_dockets WHERE id = ?"

_LOOK_AGAIN = 0.5


class Reader:
    """Runs jobs that only read, each in one snapshot; used by one thread."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._executor: OwnConnection | None = None
        self._identity: tuple[int, int] | None = None
        self._looked_at = 0.0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self, jobs: list[Job]) -> list[Outcome]:
        return [self._run_one(job) for job in jobs]

    def _run_one(self, job: Job) -> Outcome:
        try:
            connection, executor = self._usable()
            connection.execute("BEGIN")
            try:
                return Outcome(job.future, job.work(executor), None)
            finally:
                connection.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 - it is the answer to whoever submitted the job
            told = translate(error, str(self._file))
            if is_missing_table(error):  # they were there: somebody has wiped them
                told = BackendUnavailable(f"{self._file}: docket's tables are gone; the next write makes new ones")
            if told is not None and told is not error:
                told.__cause__ = error
            return Outcome(job.future, None, told or error)

    def _usable(self) -> tuple[sqlite3.Connection, OwnConnection]:
        now = time.monotonic()
        if self._connection is not None and now - self._looked_at > _LOOK_AGAIN:
            if self._file.identity() != self._identity:
                self.close()
            self._looked_at = now
        if self._connection is None or self._executor is None:
            if self._file.identity() is None:
                raise BackendUnavailable(f"{self._file}: the file is gone; the next write makes a new one")
            self._connection = self._file.connect()
            self._executor = OwnConnection(self._connection)
            self._identity = self._file.identity()
        return self._connection, self._executor


def get(executor: Executor, docket: int, keys: Sequence[str], now: Micros) -> list[Record | None]:
    """What is kept of these keys."""
    wanted = list(dict.fromkeys(findable(keys)))
    found = records(executor.execute(BY_KEYS, (json.dumps(wanted), docket)), now)
    return [found.get(key) for key in keys]


def scan(
    executor: Executor, docket: int, states: AbstractSet[State], limit: int, after: str | None, now: Micros
) -> Page:
    """Up to `limit` records with a part in one of these states, by key."""
    start = "" if after is None else after
    if states == {State.RUNNING}:
        rows = executor.execute(KEYS_RUNNING, (docket, start, now, limit + 1))
    else:
        stages = [stage for state in states for stage in _STAGES[state]]
        later, ready = State.SCHEDULED in states, State.QUEUED in states
        rows = executor.execute(KEYS_IN_STAGES, (docket, start, json.dumps(stages), now, later, ready, limit + 1))
    keys = [key for (key,) in rows]
    found = [record for record in get(executor, docket, keys[:limit], now) if record is not None]
    return Page(found, keys[limit - 1] if len(keys) > limit else None)


_STAGES: dict[State, tuple[int, ...]] = {
    State.SCHEDULED: (PENDING, BEHIND, PARKED),
    State.QUEUED: (PENDING, BEHIND),
    State.RUNNING: (RUNNING, HELD),
    **{state: (stage,) for state, stage in STAGE_OF_END.items()},
}


def counts(executor: Executor, docket: int, now: Micros) -> list[FunctionCounts]:
    """How many live tasks there are, for each function that has any."""
    table: dict[str, list[int]] = {}
    for function, *numbers in executor.execute(COUNTS, (docket, now)):
        row = table.setdefault(function, [0, 0, 0, 0])
        for column, number in enumerate(numbers):
            row[column] += number
    return [FunctionCounts(function, *row) for function, row in sorted(table.items())]


def workers(executor: Executor, docket: int, function: str | None, now: Micros) -> list[WorkerRecord]:
    """The workers that live; with `function`, those that can run it."""
    present = [
        WorkerRecord(name, frozenset(json.loads(functions)), last_seen)
        for name, functions, last_seen in executor.execute(WORKERS, (docket, now))
    ]
    return [record for record in present if function is None or function in record.functions]


def rules(executor: Executor, docket: int) -> tuple[int, dict[str, tuple[int, bytes]]]:
    """How many strikes there have been, and the rules in force, oldest first, with their numbers."""
    counted = executor.execute(STRIKES, (docket,))
    in_force = {rule: (number, instruction) for number, rule, instruction in executor.execute(RULES, (docket,))}
    return (counted[0][0] if counted else 0), in_force


def sequence(executor: Executor, docket: int) -> int:
    """Where the docket's sequence stands in this snapshot."""
    rows = executor.execute("SELECT sequence FROM docket_dockets WHERE id = ?", (docket,))
    return rows[0][0] if rows else 0
