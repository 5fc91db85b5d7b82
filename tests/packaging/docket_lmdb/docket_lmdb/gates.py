"""Gates: expiring permits, and the tasks that are parked in front."""

import json
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from docket_core.backend.model import Permit, PermitRequest, PermitStatus
from docket_lmdb.database import Tx, digest, number
from docket_lmdb.documents import Part, Want
from docket_lmdb.index import among, due


@dataclass
class Held:
    """One holder's permit: unexpired (then it stands in the gate's `q` index), or remembered while its run is live."""

    owner: int
    """The serial of the run it goes with; 0 when that has ended."""
    until: int
    bound: bool
    extend: bool
    reserved: bool
    """Taken by a claim for a parked task; its own acquire has not come yet."""
    live: bool = True

    @property
    def with_lease(self) -> bool:
        return self.bound or self.reserved


@dataclass
class Gate:
    name: str
    limit: int = 0
    live: int = 0
    """How many permits have not expired."""
    places: list[str] = field(default_factory=list[str])
    """Its keys in `a`wake, the gates to look at by function and time, and in `y`, by the next expiry."""

    @property
    def free(self) -> int:
        return self.limit - self.live


class Gates:
    """The gates of one docket, during one transaction; `settle` brings their indexes up to date."""

    def __init__(self, tx: Tx, now: int, push: Callable[[bytes], None]) -> None:
        self._tx = tx
        self._now = now
        self._push = push
        self._open: dict[str, Gate] = {}

    def acquire(self, part: Part, requests: Sequence[PermitRequest]) -> list[Permit]:
        """All of one running task's requests, or none."""
        found: list[tuple[PermitRequest, PermitStatus]] = []
        taken: dict[str, int] = {}
        for request in requests:
            gate = self._gate(request.gate.name)
            gate.limit = request.gate.limit
            held = self._held(gate, request.holder)
            free = gate.free - taken.get(gate.name, 0)
            if held is not None and held.live:
                mine = held.reserved and held.owner == part.serial
                found.append((request, PermitStatus.GRANTED if mine else PermitStatus.HELD))
            elif free > self._ahead(gate, part, free):
                found.append((request, PermitStatus.GRANTED if held is None else PermitStatus.LAPSED))
                taken[gate.name] = taken.get(gate.name, 0) + 1
            else:
                until = self._deny(gate, request)
                self._free_reserved(part)
                return [Permit(PermitStatus.DENIED, until, gate.name)] * len(requests)
        part.places, part.want = {}, None
        return [Permit(status, self._take(part, request, status), request.gate.name) for request, status in found]

    def give_back(self, part: Part, request: PermitRequest) -> bool:
        """Whether the holder had an unexpired permit; it has none any more."""
        gate = self._gate(request.gate.name)
        held = self._held(gate, request.holder)
        self._remove(gate, request.holder, part)
        return held is not None and held.live

    def park(self, part: Part, want: Want, sequence: int) -> None:
        """Put a task in front of a gate, at the place it has there or behind all others."""
        self._gate(want.gate).limit = want.limit
        part.places.setdefault(want.gate, sequence)
        part.want, part.parked_at = want, self._now

    def unpark(self, part: Part) -> None:
        if part.parked_at is not None and part.want is not None:
            self._gate(part.want.gate)
            part.parked_at = None

    def wakeable(self, functions: AbstractSet[str] | None) -> bytes | None:
        """The id of a parked task of these functions whose gate has a free permit: the oldest of its gate."""
        self.settle()
        for name in due(self._tx, b"a", functions, self._now):
            gate = self._gate(name.decode())
            if gate.free > 0:
                table = b"w" + digest(gate.name)
                firsts = (self._tx.first(table + function) for function in among(self._tx, table, functions))
                return min((first[0][-8:], first[1]) for first in firsts if first is not None)[1]
            self.settle()
        return None

    def reserve(self, part: Part) -> None:
        """Take the permit that a parked task waits for, in the step that claims it."""
        want = part.want
        if want is not None:
            gate = self._gate(want.gate)
            held = self._held(gate, want.holder)
            if held is None or not held.live:
                self._put(gate, want.holder, part, Held(part.serial, part.lease_until, want.bound, want.extend, True))
            self.unpark(part)

    def _free_reserved(self, part: Part) -> None:
        """A denied task holds nothing: two that were woken at two gates must not deny each other for ever."""
        for gate, holder, held in self._of(part):
            if held.reserved:
                self._remove(gate, holder, part)

    def renewed(self, part: Part) -> None:
        """The lease was renewed: what is bound to it lasts as long."""
        for gate, holder, held in self._of(part):
            if held.with_lease:
                self._move(gate, holder, held, part.lease_until)

    def lease_ended(self, part: Part) -> None:
        """Free what is bound to the lease."""
        for gate, holder, held in self._of(part):
            if held.with_lease:
                self._remove(gate, holder, part)

    def run_ended(self, part: Part) -> None:
        """The run is over or replaced: only unexpired permits that outlive it stay."""
        self.unpark(part)
        for gate, holder, held in self._of(part):
            if held.with_lease or held.extend or not held.live:
                self._remove(gate, holder, part)
            else:
                held.owner = 0
                self._write(gate, holder, held)
        part.permits = []

    def replaced_while_running(self, part: Part) -> None:
        """The run is a hold from now on: it keeps its permits but for those that go with a live part."""
        for gate, holder, held in self._of(part):
            if held.extend:
                self._remove(gate, holder, part)

    def prune(self, limit: int) -> int:
        """Look after up to `limit` gates with expired permits."""
        names: list[str] = []
        for key, value in self._tx.walk(b"y"):
            if len(names) == limit or key[1:9] > number(self._now):
                break
            names.append(value.decode())
        for name in names:
            self._gate(name)
        return len(names)

    def settle(self) -> None:
        """Bring the indexes of the gates that were touched up to date; wake whom it may concern."""
        for gate in self._open.values():
            self._settle(gate)
        self._open = {}

    def _settle(self, gate: Gate) -> None:
        tx, gate_id, name = self._tx, digest(gate.name), gate.name.encode()
        first = tx.first(b"q" + gate_id)
        expiry = first[0][17:25] if first is not None else None
        wake = number(0) if gate.free > 0 else expiry
        places: set[bytes] = {b"y" + expiry + gate_id} if expiry is not None else set()
        parked = False
        for function in tx.groups(b"w" + gate_id):
            parked = True
            place = tx.first(b"w" + gate_id + function)
            if wake is not None and place is not None:
                places.add(b"a" + function + wake + place[0][-8:] + gate_id)
        before = {bytes.fromhex(place) for place in gate.places}
        for key in before - places:
            tx.delete(key)
        for key in places - before:
            tx.put(key, name)
            if key.startswith(b"a"):
                self._push(key[1:17])
        gate.places = sorted(place.hex() for place in places)
        if parked or tx.first(b"p" + gate_id) is not None:
            text = json.dumps(vars(gate)).encode()
            if text != tx.get(b"g" + gate_id):
                tx.put(b"g" + gate_id, text)
        elif tx.get(b"g" + gate_id) is not None:
            tx.delete(b"g" + gate_id)

    # --- rows -------------------------------------------------------------------------------------

    def _gate(self, name: str) -> Gate:
        """A gate as it is now: what has expired counts no more, and is remembered while its run is live."""
        gate = self._open.get(name)
        if gate is not None:
            return gate
        text = self._tx.get(b"g" + digest(name))
        gate = self._open[name] = Gate(**json.loads(text)) if text is not None else Gate(name)
        table = b"q" + digest(name)
        while (first := self._tx.first(table)) is not None and first[0][17:25] <= number(self._now):
            holder = first[1].decode()
            held = self._held(gate, holder)
            self._drop(gate, holder)
            if held is not None and held.owner:
                held.live = False
                self._write(gate, holder, held)
        return gate

    def _held(self, gate: Gate, holder: str) -> Held | None:
        text = self._tx.get(b"p" + digest(gate.name) + digest(holder))
        return Held(*json.loads(text)) if text is not None else None

    def _of(self, part: Part) -> list[tuple[Gate, str, Held]]:
        """The permits that go with this run."""
        owned: list[tuple[Gate, str, Held]] = []
        for name, holder in part.permits:
            gate = self._gate(name)
            held = self._held(gate, holder)
            if held is not None and held.owner == part.serial:
                owned.append((gate, holder, held))
        return owned

    def _ahead(self, gate: Gate, part: Part, enough: int) -> int:
        """How many parked tasks stand before this one; `enough` of them are counted at most."""
        place = part.places.get(gate.name)
        table, count = b"w" + digest(gate.name), 0
        for function in self._tx.groups(table):
            for key, _ in self._tx.walk(table + function):
                if count >= enough or (place is not None and key[-8:] >= number(place)):
                    break
                count += 1
        return count

    def _deny(self, gate: Gate, request: PermitRequest) -> int | None:
        table, until = b"q" + digest(gate.name), self._now + request.ttl
        if request.extend_on_conflict:
            for holder in [value.decode() for _, value in self._tx.walk(table)]:
                held = self._held(gate, holder)
                if held is not None and not held.with_lease and held.until < until:
                    self._move(gate, holder, held, until)
        first = self._tx.first(table)
        return int.from_bytes(first[0][17:25], "big") if first is not None else None

    def _take(self, part: Part, request: PermitRequest, status: PermitStatus) -> int:
        gate = self._gate(request.gate.name)
        held = self._held(gate, request.holder)
        if status is PermitStatus.HELD and held is not None:
            return held.until
        until = part.lease_until if request.bound else self._now + request.ttl
        held = Held(part.serial, until, request.bound, request.extend_on_conflict, False)
        self._put(gate, request.holder, part, held)
        return until

    def _put(self, gate: Gate, holder: str, part: Part, held: Held) -> None:
        self._drop(gate, holder)
        self._write(gate, holder, held)
        self._tx.put(b"q" + digest(gate.name) + number(held.until) + digest(holder), holder.encode())
        gate.live += 1
        if [gate.name, holder] not in part.permits:
            part.permits.append([gate.name, holder])

    def _move(self, gate: Gate, holder: str, held: Held, until: int) -> None:
        """Another expiry for a permit; one that had expired is live again."""
        self._drop(gate, holder)
        held.until, held.live = until, True
        self._write(gate, holder, held)
        self._tx.put(b"q" + digest(gate.name) + number(until) + digest(holder), holder.encode())
        gate.live += 1

    def _remove(self, gate: Gate, holder: str, part: Part) -> None:
        self._drop(gate, holder)
        part.permits = [permit for permit in part.permits if permit != [gate.name, holder]]

    def _drop(self, gate: Gate, holder: str) -> None:
        held = self._held(gate, holder)
        if held is not None:
            if held.live:
                self._tx.delete(b"q" + digest(gate.name) + number(held.until) + digest(holder))
                gate.live -= 1
            self._tx.delete(b"p" + digest(gate.name) + digest(holder))

    def _write(self, gate: Gate, holder: str, held: Held) -> None:
        text = json.dumps(list(vars(held).values())).encode()
        self._tx.put(b"p" + digest(gate.name) + digest(holder), text)
