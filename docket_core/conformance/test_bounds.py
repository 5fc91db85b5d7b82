"""Bounds: what is refused, before anything is written."""

import pytest

from docket_core.backend.kit import MAX_ERROR_BYTES
from docket_core.backend.model import Ack, Acked, EnqueueStatus, Gate, OnConflict, PermitStatus
from docket_core.backend.states import LIVE, TERMINAL, State
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import Subject, slot
from docket_core.errors import InvalidKey, PayloadTooLarge

BAD_LABELS = ("", "k" * 513, "\u00e4" * 257, "a\nb", "a\x00b", "\x7f", "a\x85b", "lone \ud800 surrogate")
KIBIBYTE = 1024


class TestBounds(Requirements):
    async def test_bad_keys_are_refused(self, subject: Subject) -> None:
        """Key 1..512 bytes of UTF-8 without control characters: over it a clear error before anything is written."""
        for on_conflict in OnConflict:
            answers = await subject.backend.enqueue([subject.task(key) for key in BAD_LABELS], on_conflict)
            assert [answer.status for answer in answers] == [EnqueueStatus.REFUSED] * len(BAD_LABELS)
            assert all(isinstance(answer.error, InvalidKey) for answer in answers)
        answers = await subject.backend.schedule([subject.task("key", label) for label in BAD_LABELS])
        assert all(isinstance(answer.error, InvalidKey) for answer in answers)
        answers = await subject.backend.enqueue([subject.task()._replace(run=label) for label in BAD_LABELS])
        assert all(isinstance(answer.error, InvalidKey) for answer in answers)
        assert list((await subject.backend.scan(LIVE | TERMINAL, 10)).records) == []

    async def test_one_bad_item_never_fails_its_neighbours(self, subject: Subject) -> None:
        """One bad item never fails its neighbours."""
        backend = await subject.fresh(max_payload=KIBIBYTE)
        tasks = [
            subject.task("a"),
            subject.task("\ud800"),
            subject.task("big", payload=b"x" * (KIBIBYTE + 1)),
            subject.task("z", payload=b"x" * KIBIBYTE),
        ]
        answers = await backend.enqueue(tasks)
        accepted, refused = EnqueueStatus.ACCEPTED, EnqueueStatus.REFUSED
        assert [answer.status for answer in answers] == [accepted, refused, refused, accepted]
        assert isinstance(answers[2].error, PayloadTooLarge)
        assert {claim.key for claim in await subject.claim(by=backend)} == {"a", "z"}

    async def test_refused_replace_leaves_the_old(self, subject: Subject) -> None:
        """Nothing of a refused item is written, and nothing of what was there is lost."""
        backend = await subject.fresh(max_payload=KIBIBYTE)
        first = subject.task("key", payload=b"first")
        await backend.enqueue([first])
        [answer] = await backend.enqueue([subject.task("key", payload=b"x" * 2000)], OnConflict.REPLACE)
        assert answer.status is EnqueueStatus.REFUSED
        assert (await subject.take("key", by=backend)).run == first.run

    async def test_largest_payload_is_taken(self, subject: Subject) -> None:
        """Payload and result 1 MiB by default."""
        largest = b"\xff\x00" * (subject.backend.capabilities.max_payload // 2)
        [answer] = await subject.backend.enqueue([subject.task("key", payload=largest)])
        assert answer.status is EnqueueStatus.ACCEPTED
        claim = await subject.take("key")
        assert claim.payload == largest
        assert await subject.ack(Ack.complete(claim, largest)) is Acked.ACKED
        record = await subject.record()
        assert record is not None
        assert record.last is not None
        assert record.last.result == largest

    async def test_oversized_ack_is_refused(self, subject: Subject) -> None:
        """REFUSED: something in it is outside its bounds; nothing was written for this item."""
        too_big = b"x" * (subject.backend.capabilities.max_payload + 1)
        claim, other = await subject.running("key"), await subject.running("other")
        before = await subject.record()
        refused = [
            Ack.complete(claim, too_big),
            Ack.fail(claim, "error", too_big),
            Ack.fail(claim, "e" * (MAX_ERROR_BYTES + 1)),
            Ack.complete(claim, successor=subject.task("key", payload=too_big)),
            Ack.complete(claim, successor=subject.task("another key")),
            Ack.complete(claim, successor=subject.task("key", "bad\nname")),
            Ack.park(claim, slot(claim, Gate("", 1))),
        ]
        answers = await subject.backend.ack([*refused, Ack.complete(other)])
        assert list(answers) == [Acked.REFUSED] * len(refused) + [Acked.ACKED]
        assert await subject.record() == before
        assert await subject.states("other", "another key") == [State.COMPLETED, None]
        assert await subject.ack(Ack.fail(claim, "e" * MAX_ERROR_BYTES)) is Acked.ACKED

    async def test_bad_gate_is_refused(self, subject: Subject) -> None:
        """REFUSED: a name of the request is outside its bounds; neighbours are judged by themselves."""
        claim, other = await subject.running("key"), await subject.running("other")
        bad = [slot(claim, Gate("a\nb", 1)), slot(claim, Gate("gate", 1))]
        answers = await subject.backend.acquire([*bad, slot(other, Gate("gate", 1))])
        refused = PermitStatus.REFUSED
        assert [answer.status for answer in answers] == [refused, refused, PermitStatus.GRANTED]
        nameless = slot(claim, Gate("other", 1))._replace(holder="")
        assert (await subject.acquire(nameless)).status is refused

    async def test_long_gate_names_are_taken(self, subject: Subject) -> None:
        """A gate's or holder's name is made of a function's name and an argument's value: up to 2048 bytes."""
        claim = await subject.running()
        request = slot(claim, Gate("g" * 2048, 1))._replace(holder="h" * 2048)
        assert (await subject.acquire(request)).status is PermitStatus.GRANTED

    async def test_docket_name_has_bounds(self, subject: Subject) -> None:
        """Two dockets never see one another: a name outside its bounds is refused at opening."""
        for name in BAD_LABELS:
            with pytest.raises(InvalidKey):
                await subject.another(name) if name else subject.opener(name, subject.clock)
