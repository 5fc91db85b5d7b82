"""What the holders of claims say: `ack`, `renew`, `progress`."""

from collections.abc import Sequence

from docket_core.backend.clock import Micros
from docket_core.backend.kit import due, refusal_of_ack
from docket_core.backend.model import END_OF, Ack, Acked, Claim, ProgressReply, ProgressUpdate, Renewal, Verdict
from docket_core.backend.records import Progress, ProgressMade
from docket_core.backend.states import State
from docket_sqlite import gates
from docket_sqlite.adding import LARGEST_NUMBER, bear
from docket_sqlite.ending import end, end_hold
from docket_sqlite.parts import Entry, Part, load, storable
from docket_sqlite.stages import HELD, PARKED, PENDING
from docket_sqlite.transaction import Transaction, distinct

PEND = """
UPDATE docket_tasks SET
    stage = ?, acked = ?, generation = ?, attempt = ?, delivery = ?, due_at = ?, ready_at = ?, seq = ?, since = ?,
    parked_at = ?, token = NULL, worker = NULL, started_at = NULL, lease_until = NULL, ends_at = NULL,
    progress = NULL, progress_total = NULL, progress_message = NULL, progress_at = NULL
WHERE id = ?
"""
RENEW = """
UPDATE docket_tasks SET lease_until = ?1, takeover_at = ?1 + takeover_at - lease_until, ends_at = ?2 WHERE id = ?3
"""
PROGRESS = """
UPDATE docket_tasks SET
    progress = coalesce(progress, 0) + ?, progress_total = coalesce(?, progress_total),
    progress_message = CASE WHEN ? THEN NULL ELSE coalesce(?, progress_message) END, progress_at = ?
WHERE id = ?
RETURNING progress, progress_total, progress_message, progress_at
"""


def ack(tx: Transaction, acks: Sequence[Ack]) -> list[Acked]:
    """End claims, each in one step with all that goes with it."""
    answers: list[Acked] = []
    for portion in distinct(acks, lambda item: item.claim.key):
        entries = load(tx, [item.claim.key for item in portion])
        answers += [_ack_one(tx, entries.get(item.claim.key), item) for item in portion]
        tx.flush()
    return answers


def _ack_one(tx: Transaction, entry: Entry | None, item: Ack) -> Acked:
    when = item.when
    if refusal_of_ack(item, tx.max_payload) is not None or (when is not None and abs(when) > LARGEST_NUMBER):
        return Acked.REFUSED
    if entry is None:
        return Acked.GONE
    claim = item.claim
    if entry.acked == claim.token:
        return Acked.ACKED
    if entry.hold is not None and entry.hold.token == claim.token:
        end_hold(tx, entry, entry.hold)
        return Acked.SUPERSEDED
    if claim.generation < entry.generation:
        return Acked.SUPERSEDED
    part = entry.live
    if part is None or not part.running or part.token != claim.token:
        return Acked.LOST
    entry.acked = claim.token
    _apply(tx, entry, part, item)
    return Acked.ACKED


def _apply(tx: Transaction, entry: Entry, part: Part, item: Ack) -> None:
    state = END_OF.get(item.verdict)
    if state is not None:
        end(tx, entry, part, state, result=item.result, error=item.error, reason=item.reason)
        if item.successor is not None and not part.cancel_requested:
            bear(tx, entry, item.successor, due(item.successor, tx.now))
    elif part.cancel_requested:
        end(tx, entry, part, State.CANCELLED, reason="cancelled")
    else:
        if part.gated:
            gates.lease_ended(tx, part)
        if item.verdict is Verdict.RELEASE:
            _release(tx, entry, part)
        else:
            _go_on(tx, entry, part, item)


def _release(tx: Transaction, entry: Entry, part: Part) -> None:
    """Back to where it was, as if it had not been granted."""
    parked = bool(part.gated) and gates.park_again(tx, part)
    part.delivery -= 1
    part.since = tx.next_sequence()
    _pend(tx, entry, part, tx.now if parked else None)


def _go_on(tx: Transaction, entry: Entry, part: Part, item: Ack) -> None:
    """The next generation of the same run."""
    sequence = tx.next_sequence()
    park = item.request if item.verdict is Verdict.PARK else None
    if park is not None:
        gates.park(tx, part, park, sequence)
    else:
        part.due_at = item.when if item.when is not None else tx.now + (item.delay or 0)
        part.attempt = item.attempt
        if part.gated:
            gates.forget_places(tx, part)
    part.generation = entry.generation = entry.generation + 1
    part.delivery = 0
    part.ready_at = max(tx.now, part.due_at)
    part.seq, part.since = sequence, None
    _pend(tx, entry, part, tx.now if park is not None else None)


def _pend(tx: Transaction, entry: Entry, part: Part, parked_at: Micros | None) -> None:
    part.stage = PENDING if parked_at is None else PARKED
    tx.later(
        PEND,
        (
            part.stage,
            entry.acked,
            part.generation,
            part.attempt,
            part.delivery,
            part.due_at,
            part.ready_at,
            part.seq,
            part.since,
            parked_at,
            part.id,
        ),
    )
    if parked_at is None:
        tx.push(part.function, part.ready_at)
    if tx.watched:
        tx.tell(part.changed(tx.now))


def renew(tx: Transaction, claims: Sequence[Claim], lease: Micros) -> list[Renewal]:
    """Extend leases and what is bound to them."""
    answers: list[Renewal] = []
    until = tx.now + lease
    for portion in distinct(claims, lambda claim: claim.key):
        entries = load(tx, [claim.key for claim in portion])
        for claim in portion:
            entry = entries.get(claim.key)
            part = None if entry is None else entry.holder(claim.token)
            if part is None or part.lease_until <= tx.now:
                answers.append(Renewal.LOST)
                continue
            part.lease_until = until
            ends_at = until if part.cancel_requested or part.stage == HELD else None
            tx.later(RENEW, (until, ends_at, part.id))
            if part.gated:
                gates.renewed(tx, part)
            answers.append(Renewal.CANCEL if part.cancel_requested else Renewal.RENEWED)
        tx.flush()
    return answers


def progress(tx: Transaction, updates: Sequence[ProgressUpdate]) -> list[ProgressReply]:
    """Add to the progress of running tasks."""
    answers: list[ProgressReply] = []
    for portion in distinct(updates, lambda update: update.claim.key):
        entries = load(tx, [update.claim.key for update in portion])
        answers += [_progress_one(tx, entries.get(update.claim.key), update) for update in portion]
        tx.flush()
    return answers


def _progress_one(tx: Transaction, entry: Entry | None, update: ProgressUpdate) -> ProgressReply:
    if entry is None:
        return ProgressReply.GONE
    if update.claim.generation < entry.generation:
        return ProgressReply.SUPERSEDED
    part = entry.live
    if part is None or not part.running or part.token != update.claim.token:
        return ProgressReply.LOST
    message = storable(update.message)
    rows = tx.execute(PROGRESS, (update.increment, update.total, update.clear_message, message, tx.now, part.id))
    if tx.watched:
        tx.tell(ProgressMade(part.key, part.run, part.generation, Progress(*rows[0])))
    return ProgressReply.RECORDED
