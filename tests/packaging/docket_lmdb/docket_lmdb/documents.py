"""What is kept of a key: its parts as JSON, what is large beside them, and its places in the indexes."""

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from docket_core.backend.model import Claim
from docket_core.backend.records import Hold, Last, Live, Progress, Record
from docket_core.backend.states import State
from docket_lmdb.database import Tx, digest, number


class Want(NamedTuple):
    """The permit that a parked task waits for."""

    gate: str
    limit: int
    holder: str
    ttl: int
    bound: bool
    extend: bool


@dataclass
class Part:
    """A run: the live part of a record, its hold, or what has become its last."""

    serial: int
    """Stands for the run: its payload lies under it, and its permits name it."""
    function: str
    run: str
    generation: int
    attempt: int
    when: int
    ready_at: int
    sequence: int
    """With `ready_at` its place among its function's tasks."""
    pending_since: int
    """A sequence number, for `clear`."""
    delivery: int = 0
    token: int = 0
    worker: str = ""
    started_at: int = 0
    lease_until: int = 0
    recovery: int = 0
    cancel_requested: bool = False
    progress: Progress | None = None
    parked_at: int | None = None
    want: Want | None = None
    """What it is parked for, or was woken for and has not acquired yet."""
    places: dict[str, int] = field(default_factory=dict[str, int])
    """Its places in gates, kept until its body runs."""
    permits: list[list[str]] = field(default_factory=list[list[str]])
    """Gate and holder of what it has, or had, and is remembered."""

    @property
    def running(self) -> bool:
        return self.token != 0

    def state(self, now: int) -> State:
        if self.token:
            return State.RUNNING
        return State.QUEUED if self.parked_at is None and self.when <= now else State.SCHEDULED

    def drop_claim(self) -> None:
        self.token, self.worker, self.progress = 0, "", None


@dataclass
class Done:
    """The last part."""

    part: Part
    state: State
    completed_at: int
    expires_at: int
    error: str | None
    reason: str | None


def blobs(tx: Tx, serial: int) -> tuple[bytes, bytes]:
    """Payload and headers of a run."""
    data = tx.get(b"b" + number(serial) + b"p") or b"\0\0\0\0"
    end = 4 + int.from_bytes(data[:4], "big")
    return data[end:], data[4:end]


class Entry:
    """One key. Change it and `save` it: its indexes and what is large follow."""

    def __init__(self, tx: Tx, key_id: bytes, now: int, key: str = "") -> None:
        self._tx = tx
        self.id = key_id
        self.key = key
        self.generation = 0
        self.acked = 0
        """The token of the last ack that was applied."""
        self.live: Part | None = None
        self.hold: Part | None = None
        self.last: Done | None = None
        text = tx.get(b"e" + key_id)
        if text is not None:
            live, hold, last, self.key, self.generation, self.acked = cast("list[Any]", json.loads(text))
            self.live, self.hold = _part(live), _part(hold)
            if last is not None and (part := _part(last.pop("part"))) is not None:
                self.last = Done(part, State(last.pop("state")), **last)
        self._places = self._all_places()
        self._serials = self._all_serials()
        if self.last is not None and self.last.expires_at <= now:
            self.last = None
        if not self.kept:
            self.generation = self.acked = 0

    @property
    def kept(self) -> bool:
        return self.live is not None or self.hold is not None or self.last is not None

    def save(self) -> None:
        tx, places, serials = self._tx, self._all_places(), self._all_serials()
        for key in self._places - places:
            tx.delete(key)
        for key in places - self._places:
            tx.put(key, self.id)
        for serial in self._serials - serials:
            tx.delete(b"b" + number(serial) + b"p")
            tx.delete(b"b" + number(serial) + b"r")
        self._places, self._serials = places, serials
        if self.kept:
            parts = (self.live, self.hold, self.last, self.key, self.generation, self.acked)
            tx.put(b"e" + self.id, json.dumps(parts, default=vars).encode())
        else:
            tx.delete(b"e" + self.id)

    def _all_serials(self) -> set[int]:
        parts = (self.live, self.hold, self.last.part if self.last is not None else None)
        return {part.serial for part in parts if part is not None}

    def _all_places(self) -> set[bytes]:
        """The indexes: `r`eady and `l`eases by function, `w`aiting by gate, `x` what ends by itself, `k`ept lasts."""
        places: set[bytes] = set()
        live = self.live
        if live is not None:
            function = digest(live.function)
            if live.running:
                due = live.lease_until + live.recovery
                places.add(b"l" + function + number(due) + number(live.sequence))
                if live.cancel_requested:
                    places.add(b"x" + number(live.lease_until) + self.id)
            elif live.parked_at is not None and live.want is not None:
                gate = live.want.gate
                places.add(b"w" + digest(gate) + function + number(live.places[gate]))
            elif self.hold is None:
                places.add(b"r" + function + number(live.ready_at) + number(live.sequence))
        if self.hold is not None:
            places.add(b"x" + number(self.hold.lease_until) + self.id)
        if self.last is not None:
            places.add(b"k" + number(self.last.expires_at) + self.id)
        return places

    # --- as the seam sees it ----------------------------------------------------------------------

    def claim(self, part: Part) -> Claim:
        payload, headers = blobs(self._tx, part.serial)
        return Claim(
            *(self.key, part.generation, part.token, part.function, payload, headers, part.run),
            *(part.when, part.delivery, part.attempt, part.started_at, part.lease_until),
        )

    def states(self, now: int) -> set[State]:
        """The states that readers see in some part."""
        seen = {self.live.state(now)} if self.live is not None else set[State]()
        if self.hold is not None and self.hold.lease_until > now:
            seen.add(State.RUNNING)
        if self.last is not None:
            seen.add(self.last.state)
        return seen

    def record(self, now: int) -> Record | None:
        hold = self.hold if self.hold is not None and self.hold.lease_until > now else None
        if self.live is None and self.last is None and hold is None:
            return None
        return Record(self.key, self._live(now), self._last(), self._hold(hold) if hold is not None else None)

    def _common(self, part: Part) -> tuple[str, bytes, bytes, str, int, int, int, int]:
        payload, headers = blobs(self._tx, part.serial)
        return part.function, payload, headers, part.run, part.generation, part.attempt, part.delivery, part.when

    def _live(self, now: int) -> Live | None:
        part = self.live
        if part is None:
            return None
        held = part.running
        return Live(
            part.state(now),
            *self._common(part),
            part.parked_at,
            part.worker if held else None,
            part.token if held else None,
            part.started_at if held else None,
            part.lease_until if held else None,
            part.cancel_requested,
            part.progress,
        )

    def _hold(self, part: Part) -> Hold:
        claimed = (part.worker, part.token, part.started_at, part.lease_until)
        return Hold(*self._common(part), *claimed, part.cancel_requested)

    def _last(self) -> Last | None:
        done = self.last
        if done is None:
            return None
        part = done.part
        return Last(
            done.state,
            *self._common(part),
            part.worker if part.running else None,
            part.started_at if part.running else None,
            done.completed_at,
            done.expires_at,
            self._tx.get(b"b" + number(part.serial) + b"r"),
            done.error,
            done.reason,
        )


def _part(data: dict[str, Any] | None) -> Part | None:
    if data is None:
        return None
    part = Part(**data)
    part.progress = Progress(*part.progress) if part.progress is not None else None
    part.want = Want(*part.want) if part.want is not None else None
    return part
