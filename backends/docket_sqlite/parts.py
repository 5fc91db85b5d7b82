"""What a transition needs to know of a key: its parts, without their payloads."""

import json
from collections.abc import Iterable

from docket_core.backend.clock import Micros
from docket_core.backend.records import StateChanged
from docket_core.backend.states import State
from docket_sqlite.rows import state_of
from docket_sqlite.stages import ENDED_STAGES, HELD, LIVE_STAGES, RUNNING
from docket_sqlite.transaction import Row, Transaction

PART_COLUMNS = (
    "id, key, stage, function, run, generation, acked, attempt, delivery, due_at, ready_at, seq, since, gated, top, "
    "token, worker, started_at, lease_until, cancel_requested, expires_at"
)


class Part:
    """One row of `docket_tasks`, as far as transitions look at it."""

    __slots__ = (
        "acked",
        "attempt",
        "cancel_requested",
        "delivery",
        "due_at",
        "expires_at",
        "function",
        "gated",
        "generation",
        "id",
        "key",
        "lease_until",
        "ready_at",
        "run",
        "seq",
        "since",
        "stage",
        "started_at",
        "token",
        "top",
        "worker",
    )

    id: int
    key: str
    stage: int
    function: str
    run: str
    generation: int
    acked: int
    attempt: int
    delivery: int
    due_at: Micros
    ready_at: Micros
    seq: int
    since: int | None
    gated: int
    top: int | None
    token: int | None
    worker: str | None
    started_at: Micros | None
    lease_until: Micros
    cancel_requested: int
    expires_at: Micros

    def __init__(self, row: Row) -> None:
        (
            self.id,
            self.key,
            self.stage,
            self.function,
            self.run,
            self.generation,
            self.acked,
            self.attempt,
            self.delivery,
            self.due_at,
            self.ready_at,
            self.seq,
            self.since,
            self.gated,
            self.top,
            self.token,
            self.worker,
            self.started_at,
            self.lease_until,
            self.cancel_requested,
            self.expires_at,
        ) = row

    @property
    def running(self) -> bool:
        return self.stage == RUNNING

    def state(self, now: Micros) -> State:
        return state_of(self.stage, self.due_at, now)

    def changed(self, now: Micros) -> StateChanged:
        """The event that this part has come into the state it is in."""
        return StateChanged(
            self.key,
            self.run,
            self.generation,
            self.state(now),
            self.due_at,
            self.worker if self.running else None,
            self.started_at if self.running else None,
        )


class Entry:
    """All that is kept of one key."""

    __slots__ = ("acked", "generation", "hold", "last", "live")

    def __init__(self) -> None:
        self.generation = 0
        self.acked = 0
        """The token of the last ack that was applied."""
        self.live: Part | None = None
        self.last: Part | None = None
        self.hold: Part | None = None

    def add(self, part: Part) -> None:
        if part.stage in LIVE_STAGES:
            self.live = part
        elif part.stage == HELD:
            self.hold = part
        else:
            self.last = part
        self.generation = max(self.generation, part.generation, part.top or 0)
        self.acked = max(self.acked, part.acked)

    def holder(self, token: int) -> Part | None:
        """The part that this token holds, if it still does."""
        for part in (self.live, self.hold):
            if part is not None and part.token == token and part.stage in (RUNNING, HELD):
                return part
        return None


LOAD = f"""
SELECT {PART_COLUMNS}
FROM json_each(?1) AS wanted CROSS JOIN docket_tasks AS task
WHERE task.docket = ?2 AND task.key = wanted.value
""".replace("SELECT id, key,", "SELECT task.id, task.key,")


def load(tx: Transaction, keys: Iterable[str]) -> dict[str, Entry]:
    """What is kept of these keys; what retention has released is dropped on the way."""
    entries: dict[str, Entry] = {}
    for row in tx.execute(LOAD, (json.dumps(list(keys)), tx.docket)):
        part = Part(row)
        if part.stage in ENDED_STAGES and part.expires_at <= tx.now:
            tx.later(FORGET, (part.id,))
            continue
        entry = entries.get(part.key)
        if entry is None:
            entry = entries[part.key] = Entry()
        entry.add(part)
    return entries


def findable(keys: Iterable[str]) -> list[str]:
    """Those that can be keys at all: SQLite's JSON ends a text at a NUL, and a lone surrogate is no text."""
    return [key for key in keys if (key.isascii() and key.isprintable()) or _is_text(key)]


def _is_text(key: str) -> bool:
    return "\0" not in key and not any("\ud800" <= character <= "\udfff" for character in key)


def storable(text: str | None) -> str | None:
    """Text for people as SQLite can keep it: what is no valid Unicode is written out."""
    if text is None or text.isascii():
        return text
    return text.encode(errors="backslashreplace").decode()


FORGET = "DELETE FROM docket_tasks WHERE id = ?"
