"""The claim: expired leases, parked tasks with a free permit, and tasks whose time has come."""

import json
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from docket_core.backend.clock import Micros
from docket_core.backend.kit import recovery_delay
from docket_core.backend.model import Claim, Claimed, Ended
from docket_core.backend.records import StateChanged
from docket_core.backend.states import State
from docket_sqlite import gates
from docket_sqlite.ending import end, end_lapsed, next_ending
from docket_sqlite.parts import PART_COLUMNS, Part, load
from docket_sqlite.stages import PENDING, RUNNING
from docket_sqlite.transaction import Executor, Row, Transaction

PORTION = 1000
"""How many ends a single claim deals with."""

_READY_HEAD = f"""
(SELECT ready_at FROM docket_tasks
 WHERE docket = ?1 AND function = asked.name AND stage = {PENDING} ORDER BY ready_at, seq LIMIT 1)
"""
_LEASE_HEAD = f"""
(SELECT takeover_at FROM docket_tasks
 WHERE docket = ?1 AND function = asked.name AND stage = {RUNNING} ORDER BY takeover_at LIMIT 1)
"""
_WAKE_HEAD = "(SELECT min(wake_at) FROM docket_waiting WHERE docket = ?1 AND function = asked.name)"


HEADS_OF_ASKED = f"""
SELECT name, {_READY_HEAD}, {_LEASE_HEAD}, {_WAKE_HEAD} FROM (SELECT value AS name FROM json_each(?2)) AS asked
"""
HEADS_OF_ALL = f"""
WITH RECURSIVE
ready (name) AS (
    SELECT min(function) FROM docket_tasks WHERE docket = ?1 AND stage = {PENDING}
    UNION ALL
    SELECT (SELECT min(function) FROM docket_tasks WHERE docket = ?1 AND stage = {PENDING} AND function > ready.name)
    FROM ready WHERE ready.name IS NOT NULL
),
leased (name) AS (
    SELECT min(function) FROM docket_tasks WHERE docket = ?1 AND stage = {RUNNING}
    UNION ALL
    SELECT (SELECT min(function) FROM docket_tasks WHERE docket = ?1 AND stage = {RUNNING} AND function > leased.name)
    FROM leased WHERE leased.name IS NOT NULL
),
asked (name) AS (
    SELECT name FROM ready UNION SELECT name FROM leased
    UNION SELECT function FROM docket_waiting WHERE docket = ?1
)
SELECT name, {_READY_HEAD}, {_LEASE_HEAD}, {_WAKE_HEAD} FROM asked WHERE name IS NOT NULL
"""

FEW = 32
"""Up to so many functions are looked up one by one; of more, only those that have anything."""


def _first_of(name: str, stage: int) -> str:
    """The first functions that have tasks in this stage, each found by one jump in the index."""
    some = f"FROM docket_tasks WHERE docket = ?1 AND stage = {stage}"
    return f"""{name} (name) AS (
    SELECT min(function) {some}
    UNION ALL
    SELECT (SELECT min(function) {some} AND function > {name}.name) FROM {name} WHERE {name}.name IS NOT NULL
    LIMIT {FEW + 1}
)"""


PRESENT = f"""
WITH RECURSIVE {_first_of("ready", PENDING)}, {_first_of("leased", RUNNING)}
SELECT name FROM ready UNION SELECT name FROM leased
UNION SELECT function FROM (SELECT function FROM docket_waiting WHERE docket = ?1 LIMIT {FEW + 1})
"""

_GRANT_COLUMNS = f"{PART_COLUMNS}, payload, headers"
_PAYLOAD, _HEADERS = -2, -1
_READY_AT = PART_COLUMNS.split(", ").index("ready_at")
READY = f"""
SELECT {_GRANT_COLUMNS} FROM docket_tasks
WHERE docket = ? AND function = ? AND stage = {PENDING} AND ready_at <= ? ORDER BY ready_at, seq LIMIT ?
"""
LAPSED = f"""
SELECT {_GRANT_COLUMNS} FROM docket_tasks
WHERE docket = ? AND function = ? AND stage = {RUNNING} AND takeover_at <= ? ORDER BY takeover_at LIMIT ?
"""
WAKEABLE = "SELECT gate FROM docket_waiting WHERE docket = ? AND function = ? AND wake_at <= ? ORDER BY wake_at LIMIT ?"
PARKED_IN = """
SELECT place, task FROM docket_requests
WHERE docket = ? AND gate = ? AND function = ? AND parked = 1 ORDER BY place LIMIT ?
"""
BY_ID = f"SELECT {_GRANT_COLUMNS} FROM docket_tasks WHERE id = ?"
GRANT = f"""
UPDATE docket_tasks SET
    stage = {RUNNING}, token = ?, delivery = ?, worker = ?, started_at = ?, lease_until = ?, takeover_at = ?,
    parked_at = NULL, progress = NULL, progress_total = NULL, progress_message = NULL, progress_at = NULL
WHERE id = ?
"""


class Heads(NamedTuple):
    """What comes first of one function."""

    function: str
    ready_at: Micros | None
    takeover_at: Micros | None
    wake_at: Micros | None


def read_heads(executor: Executor, docket: int, functions: AbstractSet[str] | None) -> list[Heads]:
    """What comes first of each of these functions; None: of all that have anything."""
    if functions is None:
        rows = executor.execute(HEADS_OF_ALL, (docket,))
    else:
        if len(functions) > FEW:
            present = {name for (name,) in executor.execute(PRESENT, (docket,))}
            functions = functions & present if len(present) <= FEW else functions
        rows = executor.execute(HEADS_OF_ASKED, (docket, json.dumps(list(functions))))
    return [Heads(*row) for row in rows]


def next_moment(executor: Executor, docket: int, functions: AbstractSet[str] | None) -> Micros | None:
    """The earliest moment at which there is something to do for these functions."""
    return _earliest(read_heads(executor, docket, functions), next_ending(executor, docket))


def _earliest(heads: Iterable[Heads], ending: Micros | None) -> Micros | None:
    moments = [moment for head in heads for moment in head[1:] if moment is not None]
    if ending is not None:
        moments.append(ending)
    return min(moments, default=None)


class Grants:
    """One claim under way."""

    def __init__(self, tx: Transaction, worker: str, limit: int, lease: Micros, max_deliveries: int | None) -> None:
        self.tx = tx
        self.worker = worker
        self.limit = limit
        self.lease = lease
        self.max_deliveries = max_deliveries
        self.claims: list[Claim] = []
        self.ended: list[Ended] = []

    @property
    def room(self) -> int:
        return self.limit - len(self.claims)

    def claim(self, functions: AbstractSet[str] | None) -> Claimed:
        tx = self.tx
        ending = next_ending(tx.executor, tx.docket)
        if ending is not None and ending <= tx.now:
            self.ended += end_lapsed(tx, PORTION)
            gates.settle(tx)
            ending = next_ending(tx.executor, tx.docket)
        heads = read_heads(tx.executor, tx.docket, functions)
        lapsed = _due(((head.takeover_at, head.function) for head in heads), tx.now)
        waking = _due(((head.wake_at, head.function) for head in heads), tx.now)
        ready = _due(((head.ready_at, head.function) for head in heads), tx.now)
        self._take_over(lapsed)
        gates.settle(tx)
        for function in waking:
            self._wake(function, waking)
        left = self._take_ready(ready)
        tx.flush()
        gates.settle(tx)
        if left is None or lapsed or waking:
            heads = read_heads(tx.executor, tx.docket, functions)
            left = None
        moment = _earliest(heads, ending if left is None else min(left, ending or left))
        return Claimed(self.claims, tx.now, moment, tx.next_sequence(), self.ended)

    def _take_over(self, functions: Iterable[str]) -> None:
        """Leases that have run out: granted again, or ended."""
        tx = self.tx
        for function in functions:
            more = True
            while more and len(self.ended) < PORTION:
                wanted = max(1, self.room)
                rows = tx.execute(LAPSED, (tx.docket, function, tx.now, wanted))
                more = len(rows) == wanted
                for row in rows:
                    part = Part(row[:_PAYLOAD])
                    if self.max_deliveries is not None and part.delivery >= self.max_deliveries:
                        self._poison(part)
                    elif self.room > 0:
                        if part.gated:
                            gates.lease_ended(tx, part)
                        self._grant(part, row)
                    else:
                        more = False
                tx.flush()

    def _poison(self, part: Part) -> None:
        entry = load(self.tx, [part.key])[part.key]
        error = f"granted {part.delivery} times without an end: its worker died or lost it each time"
        self.ended.append(end(self.tx, entry, part, State.FAILED, reason="poison", error=error))

    def _wake(self, function: str, functions: list[str]) -> None:
        """Parked tasks: of each gate the oldest, as many as it has free permits."""
        tx = self.tx
        while self.room > 0 and (due := tx.execute(WAKEABLE, (tx.docket, function, tx.now, 100))):
            for (gate,) in due:
                free = gates.free_permits(tx, gate)[0]
                count = max(0, min(free, self.room))
                oldest = sorted(
                    row for name in functions for row in tx.execute(PARKED_IN, (tx.docket, gate, name, count))
                )
                for _, task in oldest[:count]:
                    row = tx.execute(BY_ID, (task,))[0]
                    part = Part(row[:_PAYLOAD])
                    self._grant(part, row)
                    gates.reserve(tx, part)
                tx.gates.add(gate)
            gates.settle(tx)

    def _take_ready(self, functions: list[str]) -> Micros | None:
        """Tasks whose time has come: a share for each function, who waits longest first.

        Answers since when one that was left has been ready: then nothing else can come earlier that matters.
        """
        tx = self.tx
        for position, function in enumerate(functions * 2):  # twice: what some do not need is for the others
            turns = len(functions) - position % len(functions)
            share = self.room if position >= len(functions) else max(1, self.room // turns)
            if self.room <= 0:
                break
            rows = tx.execute(READY, (tx.docket, function, tx.now, share + 1))
            for row in rows[:share]:
                self._grant(Part(row[:_PAYLOAD]), row)
            tx.flush()
            if self.room <= 0 and len(rows) > share:
                left: Micros = rows[share][_READY_AT]
                return left
            if len(functions) == 1:
                break
        return None

    def _grant(self, part: Part, row: Row) -> None:
        tx = self.tx
        now, lease_until = tx.now, tx.now + self.lease
        part.token = token = tx.next_token()
        part.lease_until = lease_until
        part.delivery += 1
        tx.later(
            GRANT,
            (
                token,
                part.delivery,
                self.worker,
                now,
                lease_until,
                lease_until + recovery_delay(part.delivery, self.max_deliveries),
                part.id,
            ),
        )
        self.claims.append(
            Claim(
                part.key,
                part.generation,
                token,
                part.function,
                row[_PAYLOAD],
                row[_HEADERS],
                part.run,
                part.due_at,
                part.delivery,
                part.attempt,
                now,
                lease_until,
            )
        )
        if tx.watched:
            tx.tell(StateChanged(part.key, part.run, part.generation, State.RUNNING, part.due_at, self.worker, now))


def _due(moments: Iterable[tuple[Micros | None, str]], now: Micros) -> list[str]:
    """The functions whose moment has come, who waits longest first."""
    due = [(moment, function) for moment, function in moments if moment is not None and moment <= now]
    return [function for _, function in sorted(due)]
