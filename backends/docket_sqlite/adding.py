"""Adding tasks: `enqueue` and `schedule`, in docket's own transactions and in a caller's."""

from collections.abc import Sequence

from docket_core.backend.clock import Micros
from docket_core.backend.kit import due, refusal_of_task
from docket_core.backend.model import Enqueued, EnqueueStatus, OnConflict, Task
from docket_core.backend.records import StateChanged
from docket_core.backend.states import State
from docket_core.errors import DocketError, InvalidInput
from docket_sqlite import gates
from docket_sqlite.parts import FORGET, Entry, Part, load
from docket_sqlite.stages import BEHIND, HELD, PENDING
from docket_sqlite.transaction import Transaction, distinct

LARGEST_NUMBER = 2**63 - 1

INSERT = """
INSERT INTO docket_tasks (
    docket, key, stage, function, run, generation, acked, attempt, delivery, due_at, ready_at, seq,
    gated, cancel_requested, headers, payload
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, 0, 0, ?, ?)
"""
MAKE_HOLD = f"""
UPDATE docket_tasks SET stage = {HELD}, ends_at = lease_until, top = ?, acked = ? WHERE id = ?
"""
RAISE_HOLD = "UPDATE docket_tasks SET top = ?, acked = ? WHERE id = ?"


def add(tx: Transaction, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> list[Enqueued]:
    """Add tasks in their order, each by its own rules."""
    answers: list[Enqueued] = []
    for portion in distinct(tasks, lambda task: task.key):
        moments = [tx.now if at_once else due(task, tx.now) for task in portion]
        errors = [_refusal(task, when, tx) for task, when in zip(portion, moments, strict=True)]
        entries = load(tx, [task.key for task, error in zip(portion, errors, strict=True) if error is None])
        for task, when, error in zip(portion, moments, errors, strict=True):
            if error is None:
                answers.append(_add_one(tx, entries.get(task.key), task, when, on_conflict))
            else:
                answers.append(Enqueued(EnqueueStatus.REFUSED, task.run, error=error))
        tx.flush()
    return answers


def _refusal(task: Task, when: Micros, tx: Transaction) -> DocketError | None:
    if not -LARGEST_NUMBER <= when <= LARGEST_NUMBER:
        return InvalidInput(f"the time {when} of the task {task.key!r} is further away than can be kept")
    return refusal_of_task(task, tx.max_payload)


def _add_one(tx: Transaction, entry: Entry | None, task: Task, when: Micros, on_conflict: OnConflict) -> Enqueued:
    if entry is not None:
        for part in (entry.live, entry.hold, entry.last):
            if part is not None and part.run == task.run:  # this very add came before, its answer was lost
                return _answer(EnqueueStatus.ACCEPTED, part, tx.now)
        if entry.live is not None and on_conflict is OnConflict.KEEP:
            return _answer(EnqueueStatus.EXISTS, entry.live, tx.now)
    error = tx.is_full(len(task.payload) + len(task.headers))
    if error is not None:
        return Enqueued(EnqueueStatus.REFUSED, task.run, error=error)
    if entry is None:
        entry = Entry()
    _displace(tx, entry)
    generation, state = bear(tx, entry, task, when)
    return Enqueued(EnqueueStatus.ACCEPTED, task.run, generation, when, state)


def _answer(status: EnqueueStatus, part: Part, now: Micros) -> Enqueued:
    return Enqueued(status, part.run, part.generation, part.due_at, part.state(now))


def _displace(tx: Transaction, entry: Entry) -> None:
    """Make room for a newer live part: what is pending goes, what runs under a lease becomes a hold."""
    old = entry.live
    if entry.hold is not None:
        tx.later(RAISE_HOLD, (entry.generation + 1, entry.acked, entry.hold.id))
    if old is None:
        return
    if old.running and old.lease_until > tx.now:
        if old.gated:
            gates.replaced_while_running(tx, old)
        tx.later(MAKE_HOLD, (entry.generation + 1, entry.acked, old.id))
        entry.hold = old
    else:
        if old.gated:
            gates.run_ended(tx, old)
        tx.later(FORGET, (old.id,))
    entry.live = None


def bear(tx: Transaction, entry: Entry, task: Task, when: Micros) -> tuple[int, State]:
    """Make `task` the entry's live part, which it has none of; answers its generation and state."""
    generation = entry.generation + 1
    now = tx.now
    ready_at = max(now, when)
    stage = PENDING if entry.hold is None else BEHIND
    sequence = tx.next_sequence()
    tx.later(
        INSERT,
        (
            tx.docket,
            task.key,
            stage,
            task.function,
            task.run,
            generation,
            entry.acked,
            task.attempt,
            when,
            ready_at,
            sequence,
            task.headers,
            task.payload,
        ),
    )
    tx.news.push(task.function, sequence, ready_at)
    state = State.QUEUED if when <= now else State.SCHEDULED
    if tx.watched:
        tx.tell(StateChanged(task.key, task.run, generation, state, when))
    return generation, state
