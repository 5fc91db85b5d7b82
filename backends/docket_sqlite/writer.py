"""The write side: one thread with one connection, one transaction for all the operations that wait together."""

import random
import sqlite3
import time
from collections.abc import Callable
from functools import partial

from docket_core.backend.clock import Clock, Micros
from docket_core.errors import BackendUnavailable
from docket_sqlite.connection import File
from docket_sqlite.ending import prune
from docket_sqlite.failures import is_broken, is_busy, is_full, is_missing_table, translate
from docket_sqlite.gates import settle
from docket_sqlite.lane import Job, Outcome
from docket_sqlite.listeners import Listener, Sender
from docket_sqlite.news import News, Wanted
from docket_sqlite.room import Room
from docket_sqlite.transaction import Counters, OwnConnection, Transaction

LISTENERS = "SELECT port, events, secret FROM docket_listeners WHERE docket = ? AND expires_at > ?"
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.01
LONGEST_GROUP = 0.05
"""Seconds after which a transaction takes no further operation in: others want the lock too."""
PRUNED_FOR_ROOM = 1000
_LOOK_AGAIN = 0.5
"""Seconds after which the file at the path is compared with the one that is open."""


class Writer:
    """Runs jobs in transactions; used by one thread."""

    def __init__(
        self,
        file: File,
        name: str,
        clock: Clock,
        retention: Micros,
        max_payload: int,
        tell: Callable[[News], None],
    ) -> None:
        self._file = file
        self._name = name
        self._clock = clock
        self._retention = retention
        self._max_payload = max_payload
        self._tell = tell
        self._wanted_here = Wanted.WORK
        """What is wanted in this very instance."""
        self.patience = file.busy_timeout
        """Seconds to wait for a lock."""
        self.port = 0
        """The port of this very instance, which hears without a datagram."""
        self._sender = Sender()
        self._connection: sqlite3.Connection | None = None
        self._executor: OwnConnection | None = None
        self._room: Room | None = None
        self._docket = 0
        self._identity: tuple[int, int] | None = None
        self._looked_at = 0.0
        self._level = file.synchronous
        self._version = -1
        self._listeners: list[Listener] = []
        self._counters: Counters | None = None
        """As this instance left them; None if another may have changed them since."""

    @property
    def docket(self) -> int:
        """The number of this docket in the file; it is open."""
        return self._docket

    def _connect(self, *, anew: bool = False) -> None:
        self._connection = connection = self._file.connect()
        self._file.prepare(connection, anew=anew)
        row = connection.execute("SELECT id FROM docket_dockets WHERE name = ?", (self._name,)).fetchone()
        if row is None:
            connection.execute("INSERT OR IGNORE INTO docket_dockets (name) VALUES (?)", (self._name,))
            row = connection.execute("SELECT id FROM docket_dockets WHERE name = ?", (self._name,)).fetchone()
        self._docket = row[0]
        connection.execute("PRAGMA busy_timeout = 0")  # `_begin` waits by itself, in finer steps
        self._executor = OwnConnection(connection)
        self._room = Room(self._executor, self._file)
        if self._identity is not None:  # opened again: who listens must look, and say anew that they listen
            news = News()
            news.lost = True
            self._tell(news)
        self._identity = self._file.identity()
        self._level = self._file.synchronous
        self._version = -1

    def close(self) -> None:
        """Close the connection and the socket; they are opened again when they are needed."""
        self._sender.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def run(self, jobs: list[Job]) -> list[Outcome]:
        """Run jobs in as few transactions as keep the lock for a short time only; answers when all are done."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(jobs):
            outcomes += self._run_some(jobs[len(outcomes) :])
        return outcomes

    def _run_some(self, jobs: list[Job]) -> list[Outcome]:
        """Run the first of these jobs in one transaction; if that fails, each in one of its own."""
        try:
            connection = self._begin(synced=any(job.synced for job in jobs))
        except Exception as error:  # noqa: BLE001 - it is the answer to whoever submitted the jobs
            return [self._failed(job, error) for job in jobs]
        try:
            return self._commit(connection, jobs)
        except Exception as error:  # noqa: BLE001
            if len(jobs) > 1:
                return [outcome for job in jobs for outcome in self._run_some([job])]
            return [self._again(jobs[0], error)]

    def _again(self, job: Job, error: Exception) -> Outcome:
        """Once more, where there is a remedy: tables that were dropped are made, room is made by pruning."""
        try:
            if is_missing_table(error):
                self.close()
                self._connect(anew=True)
            elif is_full(error):
                freeing = Job(partial(prune, limit=PRUNED_FOR_ROOM), job.future)
                self._commit(self._begin(), [freeing])
            else:
                return self._failed(job, error)
            return self._commit(self._begin(), [job])[0]
        except Exception as still:  # noqa: BLE001
            return self._failed(job, still)

    def _failed(self, job: Job, error: Exception) -> Outcome:
        if is_broken(error):
            self.close()  # the next job opens the file again
        told = translate(error, str(self._file))
        if told is not None and told is not error:
            told.__cause__ = error
        return Outcome(job.future, None, told or error)

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job]) -> list[Outcome]:
        """One transaction: at least the first of these jobs, and as many as a short time allows."""
        began = time.monotonic()
        try:
            tx = self._transaction()
            outcomes: list[Outcome] = []
            for job in jobs:
                tx.now = self._clock.now()
                outcomes.append(Outcome(job.future, job.work(tx), None))
                if tx.gates:
                    settle(tx)
                if time.monotonic() - began > LONGEST_GROUP:
                    break
            counters = tx.save()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite ends it by itself on a full disk
                connection.execute("ROLLBACK")
            self._version = -1
            raise
        self._counters = counters
        if tx.wanted_here is not None:
            self._wanted_here = tx.wanted_here
        if tx.news:
            self._sender.send(tx.news, self._listeners)
            self._tell(tx.news)
        return outcomes

    def _begin(self, *, synced: bool = True) -> sqlite3.Connection:
        connection = self._usable()
        level = self._file.synchronous if synced else "normal"
        if level != self._level:  # outside of a transaction only
            connection.execute(f"PRAGMA synchronous = {level}")
            self._level = level
        began = time.monotonic()
        pause = _SHORTEST_PAUSE
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() - began >= self.patience:
                    raise
            else:
                return connection
            time.sleep(pause * (0.5 + random.random()))
            pause = min(_LONGEST_PAUSE, pause * 1.5)

    def _usable(self) -> sqlite3.Connection:
        """The connection to the file that stands at the path: opened again if that is another one now."""
        now = time.monotonic()
        if self._connection is not None and now - self._looked_at > _LOOK_AGAIN:
            if self._file.identity() != self._identity:
                self.close()
            self._looked_at = now
        if self._connection is None:
            self._file.check()
            self._connect()
        if self._connection is None:
            raise BackendUnavailable(f"{self._file}: cannot be opened")
        return self._connection

    def _transaction(self) -> Transaction:
        executor, room = self._executor, self._room
        if executor is None or room is None:
            raise BackendUnavailable(f"{self._file}: is not open")
        version = executor.execute("PRAGMA data_version")[0][0]
        if version != self._version:  # another connection has written since
            rows = executor.execute(LISTENERS, (self._docket, int(time.time())))
            self._listeners = [Listener(port, Wanted(events), secret) for port, events, secret in rows]
            self._version = version
            self._counters = None
        room.begin()
        others = [listener for listener in self._listeners if listener.port != self.port]
        self._listeners = others
        return Transaction(
            executor,
            self._docket,
            retention=self._retention,
            max_payload=self._max_payload,
            wanted=max([self._wanted_here, *(listener.wanted for listener in others)]),
            is_full=room.refusal,
            counters=self._counters,
        )
