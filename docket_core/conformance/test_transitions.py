"""The state table, walked: every legal transition happens, and every other pair changes nothing."""

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, CancelReply, Claim, EnqueueStatus, Gate, OnConflict
from docket_core.backend.records import Record
from docket_core.backend.states import TERMINAL, TRANSITIONS, Stage, State, Trigger
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, RETENTION, Subject, slot

GATE = Gate("gate", 1)
PAUSE = 5 * SECOND
LEGAL = {(row.source, row.trigger): row.target for row in TRANSITIONS}


async def brought_to(subject: Subject, stage: Stage) -> Claim | None:
    """Bring the key to a stage; the claim that holds it, or the last one that did."""
    if stage is Stage.ABSENT:
        return None
    if stage in (Stage.SCHEDULED, Stage.QUEUED):
        await subject.later("key", delay=PAUSE if stage is Stage.SCHEDULED else 0)
        return None
    if stage is Stage.PARKED:
        holder = await subject.running("holder", lease=LEASE * 1000)
        await subject.acquire(slot(holder, GATE))
        request = await subject.parked("key", GATE)
        await subject.end(holder)
        return request.claim
    claim = await subject.running()
    if stage is Stage.CANCELLING:
        await subject.backend.cancel(["key"])
    elif stage is Stage.LAPSED:
        await subject.advance(LEASE)
    elif stage is Stage.COMPLETED:
        await subject.ack(Ack.complete(claim, b"result"))
    elif stage is Stage.FAILED:
        await subject.ack(Ack.fail(claim, "error"))
    elif stage is Stage.CANCELLED:
        await subject.ack(Ack.cancel(claim, "dropped"))
    return claim


def ack_for(subject: Subject, trigger: Trigger, claim: Claim) -> Ack | None:
    match trigger:
        case Trigger.ACK_COMPLETE:
            return Ack.complete(claim, b"new result")
        case Trigger.ACK_FAIL:
            return Ack.fail(claim, "new error")
        case Trigger.ACK_CANCEL:
            return Ack.cancel(claim)
        case Trigger.ACK_SUCCESSOR:
            return Ack.complete(claim, successor=subject.task("key", delay=PAUSE))
        case Trigger.ACK_RETRY:
            return Ack.retry(claim, attempt=2, delay=PAUSE)
        case Trigger.ACK_POSTPONE:
            return Ack.postpone(claim, delay=PAUSE)
        case Trigger.ACK_PARK:
            return Ack.park(claim, slot(claim, GATE))
        case Trigger.ACK_RELEASE:
            return Ack.release(claim)
        case _:
            return None


async def pulled(subject: Subject, trigger: Trigger, claim: Claim | None) -> object:
    """Let the trigger happen; what the backend answers."""
    backend = subject.backend
    task = subject.task("key", delay=PAUSE)
    match trigger:
        case Trigger.ADD_NOW:
            return (await backend.enqueue([task]))[0].status
        case Trigger.ADD_LATER:
            return (await backend.schedule([task]))[0].status
        case Trigger.REPLACE_NOW:
            return (await backend.enqueue([task], OnConflict.REPLACE))[0].status
        case Trigger.REPLACE_LATER:
            return (await backend.schedule([task], OnConflict.REPLACE))[0].status
        case Trigger.CANCEL:
            return (await backend.cancel(["key"]))[0]
        case Trigger.CLEAR:
            return await backend.clear()
        case Trigger.DUE:
            await subject.advance(PAUSE)
            return None
        case Trigger.CLAIM:
            return [again.key for again in await subject.claim(1)]
        case Trigger.LAPSE:
            await subject.advance(LEASE)
            assert await subject.claim(0) == []
            return None
        case Trigger.EXPIRE:
            await subject.advance(RETENTION)
            return None
        case _:
            ack = ack_for(subject, trigger, claim or stranger(subject))
            assert ack is not None
            return await subject.ack(ack)


def stranger(subject: Subject) -> Claim:
    """A claim that was never granted."""
    return Claim(*("key", 1, 1, "work", b"", b"", "run", subject.now, 1, 1, subject.now, subject.now + LEASE))


def seen(record: Record | None, now: int) -> Stage:
    """Where a key stands, as its record shows it."""
    if record is None:
        return Stage.ABSENT
    live = record.live
    if live is None:
        assert record.last is not None
        return Stage(record.last.state.value)
    if live.state is State.RUNNING:
        assert live.lease_until is not None
        if live.cancel_requested:
            return Stage.CANCELLING
        return Stage.LAPSED if live.lease_until <= now else Stage.RUNNING
    if live.parked_at is not None:
        return Stage.PARKED
    return Stage(live.state.value)


def unmoving(record: Record | None) -> Record | None:
    """The record without what time alone changes, and without what every read may round."""
    if record is None or record.live is None or record.live.state is State.RUNNING:
        return record
    return record._replace(live=record.live._replace(state=State.QUEUED))


@pytest.mark.parametrize(("source", "trigger"), [(s, t) for s in Stage for t in Trigger], ids=lambda p: p.name.lower())
class TestTransitions(Requirements):
    async def test_transition(self, subject: Subject, source: Stage, trigger: Trigger) -> None:
        """In `source`, `trigger` leads to `target`; a pair that is not in the table changes nothing."""
        claim = await brought_to(subject, source)
        before = await subject.record()
        assert seen(before, subject.now) is source
        answer = await pulled(subject, trigger, claim)
        after = await subject.record()
        target = LEGAL.get((source, trigger))
        if target is not None:
            assert seen(after, subject.now) is target
            assert (record_state(after) or None) is target.state
            assert_moved(source, before, after, answer)
        else:
            moving = trigger in (Trigger.DUE, Trigger.LAPSE, Trigger.EXPIRE)
            assert (unmoving(after) if moving else after) == (unmoving(before) if moving else before)
            assert answer in ILLEGAL.get(trigger, (answer,))


ILLEGAL: dict[Trigger, tuple[object, ...]] = {
    Trigger.ADD_NOW: (EnqueueStatus.EXISTS,),
    Trigger.ADD_LATER: (EnqueueStatus.EXISTS,),
    Trigger.CANCEL: (CancelReply.GONE, CancelReply.REQUESTED),
    Trigger.CLEAR: (0,),
    Trigger.CLAIM: ([],),
    **{
        trigger: (Acked.ACKED, Acked.GONE, Acked.SUPERSEDED, Acked.LOST)
        for trigger in Trigger
        if trigger.name.startswith("ACK_")
    },
}
"""What a pair outside the table may answer."""


def record_state(record: Record | None) -> State | None:
    if record is None:
        return None
    part = record.live or record.last
    return part.state if part is not None else None


def assert_moved(source: Stage, before: Record | None, after: Record | None, answer: object) -> None:
    """What every legal transition keeps: an answer that says yes, and generations that only grow."""
    assert answer not in (EnqueueStatus.EXISTS, EnqueueStatus.REFUSED, CancelReply.GONE, 0, [], Acked.LOST)
    if after is None or before is None:
        return
    old, new = before.live or before.last, after.live or after.last
    assert old is not None
    assert new is not None
    assert new.generation >= old.generation
    if new.run == old.run and source.state in TERMINAL:
        assert new.state is old.state
