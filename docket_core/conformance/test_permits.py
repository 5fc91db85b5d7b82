"""Permits: who may pass a gate, and until when."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, Acked, Gate, Permit, PermitRequest, PermitStatus, Released, Renewal
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject, slot, turn

ONE = Gate("gate", 1)
TWO = Gate("gate", 2)


class TestPermits(Requirements):
    async def test_granted_up_to_the_limit(self, subject: Subject) -> None:
        """GRANTED (new) while permits are free, or DENIED(until = earliest expiry)."""
        a, b, c = [await subject.running(key) for key in "abc"]
        assert await subject.acquire(turn(a, TWO, 9 * SECOND)) == Permit(
            PermitStatus.GRANTED, subject.now + 9 * SECOND, "gate"
        )
        assert (await subject.acquire(turn(b, TWO, 5 * SECOND))).status is PermitStatus.GRANTED
        assert await subject.acquire(turn(c, TWO, 5 * SECOND)) == Permit(
            PermitStatus.DENIED, subject.now + 5 * SECOND, "gate"
        )

    async def test_first_asked_is_first_granted(self, subject: Subject) -> None:
        """Within one call permits go to those who ask first, whatever their keys are."""
        claims = [await subject.running(key) for key in ("b", "c", "a")]
        answers = await subject.backend.acquire([slot(claim, TWO) for claim in claims])
        assert [permit.status for permit in answers] == [
            PermitStatus.GRANTED,
            PermitStatus.GRANTED,
            PermitStatus.DENIED,
        ]

    async def test_same_holder_never_takes_two(self, subject: Subject) -> None:
        """HELD if the holder has an unexpired permit: a redelivery is not counted again."""
        zombie = await subject.running()
        granted = await subject.acquire(turn(zombie, TWO, 90 * SECOND))
        assert await subject.acquire(turn(zombie, TWO, 90 * SECOND)) == granted._replace(status=PermitStatus.HELD)
        await subject.advance(LEASE)
        holder = await subject.take("key")
        assert (await subject.acquire(turn(holder, TWO, 90 * SECOND))).status is PermitStatus.HELD
        other = await subject.running("other")
        assert (await subject.acquire(turn(other, TWO, SECOND))).status is PermitStatus.GRANTED

    async def test_expired_counts_for_nothing(self, subject: Subject) -> None:
        """An expired permit counts for nothing; it is remembered as LAPSED while its run is live."""
        a, b = [await subject.running(key) for key in "ab"]
        await subject.acquire(turn(a, ONE, SECOND))
        await subject.advance(SECOND)
        await subject.backend.prune(100)
        assert await subject.acquire(turn(a, ONE, SECOND)) == Permit(PermitStatus.LAPSED, subject.now + SECOND, "gate")
        await subject.advance(SECOND)
        assert (await subject.acquire(turn(b, ONE, SECOND))).status is PermitStatus.GRANTED
        assert (await subject.acquire(turn(a, ONE, SECOND))).status is PermitStatus.DENIED

    async def test_bound_permit_lives_with_the_lease(self, subject: Subject) -> None:
        """`bound`: renewed with the lease, freed by the ack."""
        a, b = [await subject.running(key) for key in "ab"]
        assert (await subject.acquire(slot(a, ONE))).until == a.lease_until
        for _ in range(3):
            await subject.advance(LEASE - SECOND)
            assert list(await subject.backend.renew([a, b], LEASE)) == [Renewal.RENEWED] * 2
            assert await subject.acquire(slot(b, ONE)) == Permit(PermitStatus.DENIED, subject.now + LEASE, "gate")
        await subject.end(a)
        assert (await subject.acquire(slot(b, ONE))).status is PermitStatus.GRANTED

    async def test_every_verdict_frees_bound_permits(self, subject: Subject) -> None:
        """Bound permits are freed by every verdict."""
        for number in range(7):
            claim = await subject.running(f"key-{number}")
            assert (await subject.acquire(slot(claim, ONE))).status is PermitStatus.GRANTED
            ack = (
                Ack.complete(claim),
                Ack.fail(claim, "error"),
                Ack.cancel(claim),
                Ack.retry(claim, attempt=2, delay=3600 * SECOND),
                Ack.postpone(claim, delay=3600 * SECOND),
                Ack.complete(claim, successor=subject.task(claim.key, delay=3600 * SECOND)),
                Ack.release(claim),
            )[number]
            assert await subject.ack(ack) is Acked.ACKED

    async def test_takeover_frees_bound_permits(self, subject: Subject) -> None:
        """Taking over an expired lease frees its bound permits in the same step; none leaks."""
        zombie = await subject.running()
        await subject.acquire(slot(zombie, ONE))
        await subject.advance(LEASE)
        holder = await subject.take("key", lease=10 * LEASE)
        other = await subject.running("other")
        assert (await subject.acquire(slot(other, ONE))).status is PermitStatus.GRANTED
        assert (await subject.acquire(slot(holder, ONE))).status is PermitStatus.DENIED

    async def test_unbound_permit_outlives_its_task(self, subject: Subject) -> None:
        """ttl = per, never released: it stays until it expires, whatever becomes of the task."""
        a = await subject.running("a")
        await subject.acquire(turn(a, ONE, 60 * SECOND))
        await subject.end(a)
        b = await subject.running("b", lease=300 * SECOND)
        assert (await subject.acquire(turn(b, ONE, 60 * SECOND))).status is PermitStatus.DENIED
        await subject.advance(60 * SECOND)
        assert (await subject.acquire(turn(b, ONE, 60 * SECOND))).status is PermitStatus.GRANTED

    async def test_release_gives_back(self, subject: Subject) -> None:
        """Give permits back before they expire; ABSENT: the holder has no permit in that gate."""
        a, b = [await subject.running(key) for key in "ab"]
        request = turn(a, ONE, 60 * SECOND)
        await subject.acquire(request)
        answers = await subject.backend.release([turn(b, ONE, SECOND), request, request])
        assert list(answers) == [Released.ABSENT, Released.RELEASED, Released.ABSENT]
        assert (await subject.acquire(turn(b, ONE, SECOND))).status is PermitStatus.GRANTED

    async def test_lapsed_lease_gives_nothing_back(self, subject: Subject) -> None:
        """LOST if the claim is not current or has lapsed, in `release` too."""
        claim = await subject.running()
        await subject.acquire(turn(claim, ONE, 10 * LEASE))
        await subject.advance(LEASE)
        assert list(await subject.backend.release([turn(claim, ONE, 10 * LEASE)])) == [Released.LOST]

    async def test_newest_limit_counts(self, subject: Subject) -> None:
        """The newest request's limit is the gate's."""
        a, b, c = [await subject.running(key) for key in "abc"]
        await subject.acquire(slot(a, ONE))
        assert (await subject.acquire(slot(b, ONE))).status is PermitStatus.DENIED
        assert (await subject.acquire(slot(b, TWO))).status is PermitStatus.GRANTED
        assert (await subject.acquire(slot(c, ONE))).status is PermitStatus.DENIED
        await subject.end(a)
        assert (await subject.acquire(slot(c, ONE))).status is PermitStatus.DENIED
        await subject.end(b)
        assert (await subject.acquire(slot(c, ONE))).status is PermitStatus.GRANTED

    async def test_group_is_granted_together_or_not_at_all(self, subject: Subject) -> None:
        """The requests of one task are granted together or not at all; the answer names the first that denies."""
        x, y = Gate("x", 1), Gate("y", 1)
        a, b, c = [await subject.running(key) for key in "abc"]
        await subject.acquire(slot(a, y))
        denied = await subject.backend.acquire([slot(b, x), slot(b, y)])
        assert list(denied) == [Permit(PermitStatus.DENIED, a.lease_until, "y")] * 2
        assert (await subject.acquire(slot(c, x))).status is PermitStatus.GRANTED
        await subject.end(a)
        await subject.end(c)
        granted = await subject.backend.acquire([slot(b, x), slot(b, y)])
        assert [(permit.status, permit.gate) for permit in granted] == [
            (PermitStatus.GRANTED, "x"),
            (PermitStatus.GRANTED, "y"),
        ]

    async def test_groups_of_a_batch_are_answered_in_place(self, subject: Subject) -> None:
        """Replies are positional: neighbours of one claim form a group, each judged by itself."""
        a, b, c = [await subject.running(key) for key in "abc"]
        x = Gate("x", 1)
        answers = await subject.backend.acquire([slot(a, ONE), slot(b, x), slot(b, ONE), slot(c, x)])
        assert [(permit.status, permit.gate) for permit in answers] == [
            (PermitStatus.GRANTED, "gate"),
            (PermitStatus.DENIED, "gate"),
            (PermitStatus.DENIED, "gate"),
            (PermitStatus.GRANTED, "x"),
        ]

    async def test_gates_are_apart(self, subject: Subject) -> None:
        """Permits count within their gate; a gate's name is just text."""
        claim = await subject.running()
        names = ["a", "a:b", "{a}", "a'b", "a\\", "%s", "ä", "a\u0308"]
        answers = [await subject.acquire(slot(claim, Gate(name, 1))) for name in names]
        assert [answer.status for answer in answers] == [PermitStatus.GRANTED] * len(names)

    async def test_hold_keeps_its_permits(self, subject: Subject) -> None:
        """A hold: renewals RENEWED, permits stay; its ack frees what was bound."""
        hold = await subject.running()
        await subject.acquire(slot(hold, ONE))
        await subject.replace("key", "newer")
        await subject.advance(LEASE - SECOND)
        assert list(await subject.backend.renew([hold], LEASE)) == [Renewal.RENEWED]
        await subject.advance(2 * SECOND)
        other = await subject.running("other")
        assert (await subject.acquire(slot(other, ONE))).status is PermitStatus.DENIED
        assert await subject.ack(Ack.complete(hold)) is Acked.SUPERSEDED
        assert (await subject.acquire(slot(other, ONE))).status is PermitStatus.GRANTED

    async def test_lapsed_holds_permit_is_free(self, subject: Subject) -> None:
        """A hold's permits end with its lease."""
        hold = await subject.running()
        await subject.acquire(slot(hold, ONE))
        await subject.later("other", delay=LEASE)
        await subject.replace("key", "newer")
        await subject.advance(LEASE)
        [other] = await subject.claim(functions={"work"})
        assert (await subject.acquire(slot(other, ONE))).status is PermitStatus.GRANTED

    async def test_two_instances_share_the_gates(self, subject: Subject) -> None:
        """A gate is the docket's, not the instance's."""
        other = await subject.another()
        a, b = [await subject.running(key) for key in "ab"]
        await subject.acquire(slot(a, ONE))
        [denied] = await other.acquire([slot(b, ONE)])
        assert denied.status is PermitStatus.DENIED


class TestDebouncing(Requirements):
    """`extend_on_conflict`: a denial pushes the holders' expiry to now + ttl."""

    async def test_denial_pushes_the_expiry(self, subject: Subject) -> None:
        """Being denied pushes the expiry of those who hold permits to now + ttl."""
        a, b = [await subject.running(key) for key in "ab"]
        ttl = 10 * SECOND
        await subject.acquire(PermitRequest(a, ONE, "a", ttl, extend_on_conflict=True))
        await subject.advance(4 * SECOND)
        denied = await subject.acquire(PermitRequest(b, ONE, "b", ttl, extend_on_conflict=True))
        assert denied == Permit(PermitStatus.DENIED, subject.now + ttl, "gate")
        held = await subject.acquire(PermitRequest(a, ONE, "a", ttl, extend_on_conflict=True))
        assert held == Permit(PermitStatus.HELD, subject.now + ttl, "gate")

    async def test_plain_denial_pushes_nothing(self, subject: Subject) -> None:
        """Only a request that extends on conflict moves the holders' expiry."""
        a, b = [await subject.running(key) for key in "ab"]
        granted = await subject.acquire(PermitRequest(a, ONE, "a", 10 * SECOND, extend_on_conflict=True))
        await subject.advance(SECOND)
        denied = await subject.acquire(turn(b, ONE, 10 * SECOND))
        assert denied == Permit(PermitStatus.DENIED, granted.until, "gate")

    async def test_quiet_then_the_holder_runs(self, subject: Subject) -> None:
        """GRANTED -> postpone to `until`; LAPSED -> release, run."""
        first = await subject.running()
        request = PermitRequest(first, ONE, "key", 10 * SECOND, extend_on_conflict=True)
        until = (await subject.acquire(request)).until
        await subject.ack(Ack.postpone(first, when=until))
        await subject.advance(10 * SECOND)
        second = await subject.take("key")
        request = request._replace(claim=second)
        assert (await subject.acquire(request)).status is PermitStatus.LAPSED
        assert list(await subject.backend.release([request])) == [Released.RELEASED]
        await subject.end(second)
        other = await subject.running("other")
        request = request._replace(claim=other, holder="other")
        assert (await subject.acquire(request)).status is PermitStatus.GRANTED

    async def test_what_lives_with_a_lease_is_not_pushed(self, subject: Subject) -> None:
        """Bound permits, and one that a claim took for a parked task, are not extended by a denial."""
        holder, newcomer = await subject.running("holder"), await subject.running("newcomer", lease=3600 * SECOND)
        pushing = PermitRequest(newcomer, ONE, "newcomer", 600 * SECOND, extend_on_conflict=True)
        until = (await subject.acquire(slot(holder, ONE))).until
        assert await subject.acquire(pushing) == Permit(PermitStatus.DENIED, until, "gate")
        parked = await subject.running("parked")
        await subject.ack(Ack.park(parked, turn(parked, ONE, SECOND)))
        await subject.end(holder)
        woken = await subject.take("parked")
        assert await subject.acquire(pushing) == Permit(PermitStatus.DENIED, woken.lease_until, "gate")
        await subject.advance(LEASE)
        assert (await subject.acquire(pushing)).status is PermitStatus.GRANTED

    async def test_freed_when_the_holder_is_gone(self, subject: Subject) -> None:
        """Such a permit is freed when its holder's live part ends or is replaced."""
        probe = await subject.running("probe", lease=3600 * SECOND)
        probing = turn(probe, ONE, SECOND)
        for number in range(3):
            claim = await subject.running()
            request = PermitRequest(claim, ONE, "key", 600 * SECOND, extend_on_conflict=True)
            assert (await subject.acquire(request)).status is PermitStatus.GRANTED
            await subject.ack(Ack.postpone(claim, delay=600 * SECOND))
            assert (await subject.acquire(probing)).status is PermitStatus.DENIED
            if number == 0:
                await subject.backend.cancel(["key"])
            elif number == 1:
                await subject.replace("key")
            else:
                await subject.backend.clear()
            assert (await subject.acquire(probing)).status in (PermitStatus.GRANTED, PermitStatus.LAPSED)
            assert list(await subject.backend.release([probing])) == [Released.RELEASED]
            await subject.backend.cancel(["key"])
