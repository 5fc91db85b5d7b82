"""Gates: expiring permits, and the tasks that are parked in front.

`docket_waiting` says of each gate with parked tasks, for each function they have, when a permit will be free: a claim
looks there only. Whoever changes a gate marks it in `tx.gates`, and `settle` brings that table up to date.
"""

from collections.abc import Sequence

from docket_core.backend.clock import Micros
from docket_core.backend.model import Permit, PermitRequest, PermitStatus
from docket_sqlite.parts import Part
from docket_sqlite.transaction import Transaction

MARK_GATED = "UPDATE docket_tasks SET gated = 1 WHERE id = ?"
SET_CAPACITY = """
INSERT INTO docket_gates (docket, gate, capacity) VALUES (?, ?, ?)
ON CONFLICT (docket, gate) DO UPDATE SET capacity = excluded.capacity WHERE capacity <> excluded.capacity
"""
ADD_GATE = "INSERT OR IGNORE INTO docket_gates (docket, gate, capacity) VALUES (?, ?, ?)"
LIVE_PERMITS = "SELECT count(*), min(expires_at) FROM docket_permits WHERE docket = ? AND gate = ? AND expires_at > ?"
PERMIT = "SELECT expires_at, task, reserved FROM docket_permits WHERE docket = ? AND gate = ? AND holder = ?"
PUT_PERMIT = "INSERT OR REPLACE INTO docket_permits VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
DROP_PERMIT = "DELETE FROM docket_permits WHERE docket = ? AND gate = ? AND holder = ?"
DROP_EXPIRED = "DELETE FROM docket_permits WHERE docket = ? AND gate = ? AND task IS NULL AND expires_at <= ?"
EXTEND = """
UPDATE docket_permits SET expires_at = ?1
WHERE docket = ?2 AND gate = ?3 AND expires_at > ?4 AND expires_at < ?1 AND bound = 0 AND reserved = 0
"""
PERMITS_OF = "SELECT gate, holder, expires_at, bound, extend, reserved FROM docket_permits WHERE task = ?"
RENEW = "UPDATE docket_permits SET expires_at = ? WHERE docket = ? AND gate = ? AND holder = ?"
DISOWN = "UPDATE docket_permits SET task = NULL WHERE docket = ? AND gate = ? AND holder = ?"

PLACE = "SELECT place FROM docket_places WHERE task = ? AND gate = ?"
ADD_PLACE = "INSERT OR IGNORE INTO docket_places (task, gate, place) VALUES (?, ?, ?)"
DROP_PLACES = "DELETE FROM docket_places WHERE task = ?"
PARK = "INSERT OR REPLACE INTO docket_requests VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)"
PARK_AGAIN = "UPDATE docket_requests SET parked = 1 WHERE task = ? RETURNING gate, capacity"
UNPARK = "UPDATE docket_requests SET parked = 0 WHERE task = ? AND parked = 1 RETURNING gate"
DROP_REQUEST = "DELETE FROM docket_requests WHERE task = ?"
AHEAD = """
SELECT count(*) FROM (
    SELECT 1 FROM docket_requests WHERE docket = ? AND gate = ? AND parked = 1 AND place < ? LIMIT ?
)
"""
PARKED_FUNCTIONS = """
WITH RECURSIVE each_function (name) AS (
    SELECT min(function) FROM docket_requests WHERE docket = ?1 AND gate = ?2 AND parked = 1
    UNION ALL
    SELECT (SELECT min(function) FROM docket_requests
            WHERE docket = ?1 AND gate = ?2 AND parked = 1 AND function > each_function.name)
    FROM each_function WHERE each_function.name IS NOT NULL
)
SELECT name FROM each_function WHERE name IS NOT NULL
"""
WAITING = "SELECT function, wake_at FROM docket_waiting WHERE docket = ? AND gate = ?"
SET_WAITING = """
INSERT INTO docket_waiting (docket, gate, function, wake_at) VALUES (?, ?, ?, ?)
ON CONFLICT (docket, gate, function) DO UPDATE SET wake_at = excluded.wake_at
"""
DROP_WAITING = "DELETE FROM docket_waiting WHERE docket = ? AND gate = ? AND function = ?"
DROP_GATE = """
DELETE FROM docket_gates WHERE docket = ?1 AND gate = ?2
AND NOT EXISTS (SELECT 1 FROM docket_permits WHERE docket = ?1 AND gate = ?2)
"""
CAPACITY = "SELECT capacity FROM docket_gates WHERE docket = ? AND gate = ?"
_LAST = 2**63 - 1


def free_permits(tx: Transaction, gate: str) -> tuple[int, Micros | None]:
    """How many permits are free, and when the next live one expires."""
    capacity = tx.execute(CAPACITY, (tx.docket, gate))
    live, earliest = tx.execute(LIVE_PERMITS, (tx.docket, gate, tx.now))[0]
    return (capacity[0][0] if capacity else 0) - live, earliest


def acquire(tx: Transaction, part: Part, requests: Sequence[PermitRequest]) -> list[Permit]:
    """All of one running task's requests, or none."""
    answers: list[PermitStatus] = []
    taken: dict[str, int] = {}
    for request in requests:
        gate = request.gate.name
        _touch(tx, request)
        found = tx.execute(PERMIT, (tx.docket, gate, request.holder))
        if found and found[0][0] > tx.now:
            _, owner, reserved = found[0]
            status = PermitStatus.GRANTED if reserved and owner == part.id else PermitStatus.HELD
        elif _has_room(tx, part, gate, taken.get(gate, 0)):
            remembered = bool(found) and found[0][1] is not None  # as long as its run is live
            status = PermitStatus.LAPSED if remembered else PermitStatus.GRANTED
            taken[gate] = taken.get(gate, 0) + 1
        else:
            until = _deny(tx, request)
            _free_reserved(tx, part)
            return [Permit(PermitStatus.DENIED, until, gate)] * len(requests)
        answers.append(status)
    granted = [
        Permit(status, _take(tx, part, request, status), request.gate.name)
        for request, status in zip(requests, answers, strict=True)
    ]
    if part.gated:
        forget_places(tx, part)
    tx.execute(MARK_GATED, (part.id,))
    part.gated = 1
    return granted


def _has_room(tx: Transaction, part: Part, gate: str, taken: int) -> bool:
    free = free_permits(tx, gate)[0] - taken
    if free <= 0:
        return False
    place = tx.execute(PLACE, (part.id, gate)) if part.gated else []
    ahead = tx.execute(AHEAD, (tx.docket, gate, place[0][0] if place else _LAST, free))[0][0]
    return bool(free > ahead)


def _deny(tx: Transaction, request: PermitRequest) -> Micros | None:
    if request.extend_on_conflict:
        tx.execute(EXTEND, (tx.now + request.ttl, tx.docket, request.gate.name, tx.now))
    return free_permits(tx, request.gate.name)[1]


def _free_reserved(tx: Transaction, part: Part) -> None:
    """A denied task holds nothing: two that were woken at two gates must not deny each other for ever."""
    for gate, holder, _, _, _, reserved in tx.execute(PERMITS_OF, (part.id,)) if part.gated else ():
        if reserved:
            tx.execute(DROP_PERMIT, (tx.docket, gate, holder))
            tx.gates.add(gate)


def _take(tx: Transaction, part: Part, request: PermitRequest, status: PermitStatus) -> Micros:
    gate = request.gate.name
    if status is PermitStatus.HELD:
        until: Micros = tx.execute(PERMIT, (tx.docket, gate, request.holder))[0][0]
        return until
    until = part.lease_until if request.bound else tx.now + request.ttl
    bound, extend = request.bound, request.extend_on_conflict
    tx.execute(PUT_PERMIT, (tx.docket, gate, request.holder, until, part.id, bound, extend, 0))
    return until


def give_back(tx: Transaction, request: PermitRequest) -> bool:
    """Whether the holder had an unexpired permit; it has none any more."""
    identity = (tx.docket, request.gate.name, request.holder)
    found = tx.execute(PERMIT, identity)
    if found:
        tx.execute(DROP_PERMIT, identity)
        tx.gates.add(request.gate.name)
    return bool(found and found[0][0] > tx.now)


def park(tx: Transaction, part: Part, request: PermitRequest, sequence: int) -> None:
    """Put a task in front of a gate, at the place it has there or behind all others."""
    _touch(tx, request)
    gate = request.gate.name
    tx.execute(ADD_PLACE, (part.id, gate, sequence))
    place = tx.execute(PLACE, (part.id, gate))[0][0]
    tx.execute(
        PARK,
        (
            part.id,
            tx.docket,
            gate,
            part.function,
            place,
            request.gate.limit,
            request.holder,
            request.ttl,
            request.bound,
            request.extend_on_conflict,
        ),
    )
    tx.execute(MARK_GATED, (part.id,))


def park_again(tx: Transaction, part: Part) -> bool:
    """Put a task that was woken and given back where it was; whether it was woken at all."""
    for gate, capacity in tx.execute(PARK_AGAIN, (part.id,)):
        tx.execute(ADD_GATE, (tx.docket, gate, capacity))
        tx.gates.add(gate)
        return True
    return False


def reserve(tx: Transaction, part: Part) -> None:
    """Take the permit that a parked task waits for, in the step that claims it."""
    unpark(tx, part)
    rows = tx.execute("SELECT gate, holder, bound, extend FROM docket_requests WHERE task = ?", (part.id,))
    for gate, holder, bound, extend in rows:
        found = tx.execute(PERMIT, (tx.docket, gate, holder))
        if not found or found[0][0] <= tx.now:
            tx.execute(PUT_PERMIT, (tx.docket, gate, holder, part.lease_until, part.id, bound, extend, 1))
            tx.gates.add(gate)


def unpark(tx: Transaction, part: Part) -> None:
    """Take a task away from its gate."""
    tx.gates.update(gate for (gate,) in tx.execute(UNPARK, (part.id,)))


def forget_places(tx: Transaction, part: Part) -> None:
    """The task gives up the places it had: its body runs, or it starts anew."""
    unpark(tx, part)
    tx.execute(DROP_REQUEST, (part.id,))
    tx.execute(DROP_PLACES, (part.id,))


def renewed(tx: Transaction, part: Part) -> None:
    """The lease was renewed: what is bound to it lasts as long."""
    for gate, holder, _, bound, _, reserved in tx.execute(PERMITS_OF, (part.id,)):
        if bound or reserved:
            tx.execute(RENEW, (part.lease_until, tx.docket, gate, holder))
            tx.gates.add(gate)


def lease_ended(tx: Transaction, part: Part) -> None:
    """Free what is bound to the lease."""
    for gate, holder, _, bound, _, reserved in tx.execute(PERMITS_OF, (part.id,)):
        if bound or reserved:
            tx.execute(DROP_PERMIT, (tx.docket, gate, holder))
            tx.gates.add(gate)


def run_ended(tx: Transaction, part: Part) -> None:
    """The run is over or replaced: only unexpired permits that outlive it stay."""
    forget_places(tx, part)
    for gate, holder, expires_at, bound, extend, reserved in tx.execute(PERMITS_OF, (part.id,)):
        gone = bound or reserved or extend or expires_at <= tx.now
        tx.execute(DROP_PERMIT if gone else DISOWN, (tx.docket, gate, holder))
        tx.gates.add(gate)


def replaced_while_running(tx: Transaction, part: Part) -> None:
    """The run is a hold from now on: it keeps its permits but for those that go with a live part."""
    for gate, holder, _, _, extend, _ in tx.execute(PERMITS_OF, (part.id,)):
        if extend:
            tx.execute(DROP_PERMIT, (tx.docket, gate, holder))
            tx.gates.add(gate)


def settle(tx: Transaction) -> None:
    """Bring `docket_waiting` up to date for the gates that changed; forget gates that nobody needs."""
    while tx.gates:
        _settle(tx, tx.gates.pop())


def _settle(tx: Transaction, gate: str) -> None:
    tx.execute(DROP_EXPIRED, (tx.docket, gate, tx.now))
    free, earliest = free_permits(tx, gate)
    wake_at = 0 if free > 0 else earliest
    known: dict[str, Micros] = dict(tx.execute(WAITING, (tx.docket, gate)))
    parked = {name for (name,) in tx.execute(PARKED_FUNCTIONS, (tx.docket, gate))}
    for function in parked:
        if wake_at is None or known.get(function) == wake_at:
            continue
        tx.execute(SET_WAITING, (tx.docket, gate, function, wake_at))
        if wake_at < known.get(function, _LAST):
            tx.push(function, wake_at)
    for function in known:
        if function not in parked or wake_at is None:
            tx.execute(DROP_WAITING, (tx.docket, gate, function))
    if not parked:
        tx.execute(DROP_GATE, (tx.docket, gate))


def _touch(tx: Transaction, request: PermitRequest) -> None:
    tx.execute(SET_CAPACITY, (tx.docket, request.gate.name, request.gate.limit))
    tx.gates.add(request.gate.name)
