"""What an operation sees of a write transaction: the docket's counters, its statements, and the news to tell."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from docket_core.backend.clock import Micros
from docket_core.backend.records import CancelRequested, Event, ProgressMade, StateChanged, StrikeRule
from docket_core.errors import Overloaded
from docket_sqlite.news import News, Wanted

Row = tuple[Any, ...]


class DocketGone(Exception):
    """Somebody removed this docket's row from the file."""


class Executor(Protocol):
    """Runs statements: docket's own connection, or one of a caller's."""

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]: ...

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None: ...


class OwnConnection:
    """Docket's own connection as an executor."""

    __slots__ = ("_cursor",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._cursor = connection.cursor()

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return self._cursor.execute(sql, parameters).fetchall()

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        if len(rows) == 1:
            self._cursor.execute(sql, rows[0])
        else:
            self._cursor.executemany(sql, rows)


class Counters(NamedTuple):
    """What a docket counts, in its row."""

    token: int
    sequence: int
    strikes: int


def read_counters(executor: Executor, docket: int) -> Counters:
    rows = executor.execute("SELECT token, sequence, strikes FROM docket_dockets WHERE id = ?", (docket,))
    if not rows:
        raise DocketGone
    return Counters(*rows[0])


class Transaction:
    """One write transaction of a docket, shared by the operations that were waiting when it began."""

    def __init__(
        self,
        executor: Executor,
        docket: int,
        *,
        retention: Micros,
        max_payload: int,
        wanted: Wanted,
        is_full: Callable[[int], Overloaded | None],
        counters: Counters | None = None,
    ) -> None:
        self.executor = executor
        self.execute = executor.execute
        self.docket = docket
        self.retention = retention
        self.max_payload = max_payload
        self.wanted = wanted
        """What anyone wants to hear of: nothing else is made."""
        self.is_full = is_full
        """Why the store takes no new task of so many bytes, if it does not."""
        self.wanted_here: Wanted | None = None
        self.now: Micros = 0
        self.news = News()
        self.gates: set[str] = set()
        """Gates where something has changed since they were last settled."""
        self._later: dict[str, list[Sequence[object]]] = {}
        self._saved = counters or read_counters(executor, docket)
        self.token, self.sequence, self.strikes = self._saved

    def want_here(self, wanted: Wanted) -> None:
        """From this transaction on, this is what is wanted in this very instance."""
        self.wanted_here = wanted
        self.wanted = max(self.wanted, wanted)

    @property
    def watched(self) -> bool:
        """Whether anyone wants to hear of states and progress."""
        return self.wanted is Wanted.EVENTS

    def next_token(self) -> int:
        self.token = max(self.token + 1, self.now)
        return self.token

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def later(self, sql: str, row: Sequence[object]) -> None:
        """Write this at `flush`, together with its like. Only for rows that nothing reads before."""
        rows = self._later.get(sql)
        if rows is None:
            self._later[sql] = [row]
        else:
            rows.append(row)

    def flush(self) -> None:
        if self._later:
            later, self._later = self._later, {}
            for sql, rows in later.items():
                self.executor.execute_many(sql, rows)

    def push(self, function: str, at: Micros) -> None:
        """There is, or will be, something to claim."""
        self.news.push(function, self.next_sequence(), at)

    def tell(self, event: StateChanged | ProgressMade | CancelRequested) -> None:
        made: Event = event
        self.news.events.append((self.next_sequence(), made))

    def tell_strike(self, rule_id: str, instruction: bytes | None) -> int:
        """Tell those who follow; answers the place of this strike in the order of all."""
        self.strikes += 1
        self.news.strikes.append(StrikeRule(rule_id, instruction, self.strikes))
        return self.strikes

    def save(self) -> Counters:
        """Write what is left to write, before the commit; answers the counters as they are then."""
        self.flush()
        counters = Counters(self.token, self.sequence, self.strikes)
        if counters != self._saved:
            self.execute(
                "UPDATE docket_dockets SET token = ?, sequence = ?, strikes = ? WHERE id = ?",
                (*counters, self.docket),
            )
        return counters


_Item = TypeVar("_Item")


def distinct(items: Iterable[_Item], key: Callable[[_Item], str]) -> list[list[_Item]]:
    """`items` in portions in which no key stands twice, in their order."""
    portions: list[list[_Item]] = []
    seen: set[str] = set()
    for item in items:
        name = key(item)
        if not portions or name in seen:
            portions.append([])
            seen = set()
        seen.add(name)
        portions[-1].append(item)
    return portions
