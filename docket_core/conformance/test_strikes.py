"""Strikes: a durable ordered log of instructions, compacted to what is in force."""

from collections.abc import Sequence

from docket_core.backend.records import StrikeEvent, StrikeRule, StrikesCaughtUp
from docket_core.conformance.marks import Requirements, needs_disrupt
from docket_core.conformance.subject import Subject

CAUGHT_UP = "caught up"
RESET = "reset"


def told(seen: Sequence[StrikeEvent]) -> list[object]:
    """What was told, without the places."""
    return [_content(event) for event in seen]


def _content(event: StrikeEvent) -> object:
    if isinstance(event, StrikeRule):
        return event.rule_id, event.instruction
    return CAUGHT_UP if isinstance(event, StrikesCaughtUp) else RESET


def caught_up(seen: Sequence[StrikeEvent]) -> bool:
    return CAUGHT_UP in told(seen)


class TestStrikes(Requirements):
    async def test_history_first_then_live(self, subject: Subject) -> None:
        """The rules in force, oldest first, then `StrikesCaughtUp` once, then every change in order."""
        await subject.backend.strike("a", b"1")
        await subject.backend.strike("b", b"\x00\xff")
        async with subject.striking() as reader:
            await reader.until(caught_up)
            await subject.backend.strike("c", b"3")
            await subject.backend.strike("a", None)
            seen = await reader.until(lambda seen: len(seen) >= 5)
        assert told(seen) == [("a", b"1"), ("b", b"\x00\xff"), CAUGHT_UP, ("c", b"3"), ("a", None)]

    async def test_changes_of_a_rule_in_force_are_told(self, subject: Subject) -> None:
        """Every change in order: also one of a rule that is in force already."""
        await subject.backend.strike("a", b"1")
        async with subject.striking() as reader:
            await reader.until(caught_up)
            for instruction in (b"2", b"3", None):
                await subject.backend.strike("a", instruction)
            seen = await reader.until(lambda seen: told(seen)[-1] == ("a", None))
        assert told(seen)[2:] == [("a", b"2"), ("a", b"3"), ("a", None)]

    async def test_newest_of_a_rule_counts(self, subject: Subject) -> None:
        """The newest per rule kept: the log is what is in force, not what ever was."""
        for number in range(20):
            await subject.backend.strike("a", b"%d" % number)
            await subject.backend.strike("b", b"%d" % number)
        await subject.backend.strike("a", b"newest")
        async with subject.striking() as reader:
            seen = await reader.until(caught_up)
        assert told(seen) == [("b", b"19"), ("a", b"newest"), CAUGHT_UP]

    async def test_none_removes_the_rule(self, subject: Subject) -> None:
        """None removes the rule: who comes later is not told of it."""
        await subject.backend.strike("a", b"1")
        await subject.backend.strike("b", b"2")
        await subject.backend.strike("a", None)
        await subject.backend.strike("unknown", None)
        async with subject.striking() as reader:
            seen = await reader.until(caught_up)
        assert told(seen) == [("b", b"2"), CAUGHT_UP]

    async def test_nothing_in_force(self, subject: Subject) -> None:
        """`caught_up` once, also where there is nothing to tell."""
        async with subject.striking() as reader:
            assert told(await reader.until(caught_up)) == [CAUGHT_UP]

    async def test_other_instances_are_told(self, subject: Subject) -> None:
        """Strikes are durable and live: every instance is told, now and when it comes later."""
        other = await subject.another()
        async with subject.striking(by=other) as reader:
            await reader.until(caught_up)
            await subject.backend.strike("a", b"1")
            await reader.until(lambda seen: ("a", b"1") in told(seen))
        async with subject.striking(by=await subject.another()) as late:
            assert told(await late.until(caught_up)) == [("a", b"1"), CAUGHT_UP]

    async def test_every_instruction_has_its_place(self, subject: Subject) -> None:
        """`strike` answers a place that grows, and it is told with the instruction: who struck knows his own from older
        ones, and by `caught_up` what the history has taken into account."""
        other = await subject.another()
        places = [await subject.backend.strike(rule, b"1") for rule in ("a", "b", "c")]
        places.append(await other.strike("b", None))
        assert places == sorted(set(places))
        assert places[0] > 0
        async with subject.striking() as reader:
            [a, c, caught] = await reader.until(caught_up)
            assert (a, c) == (StrikeRule("a", b"1", places[0]), StrikeRule("c", b"1", places[2]))
            assert isinstance(caught, StrikesCaughtUp)
            assert caught.place >= places[3]
            later = [await other.strike("b", b"2"), await subject.backend.strike("a", None)]
            assert caught.place < later[0] < later[1]
            seen = await reader.until(lambda seen: len(seen) >= 5)
        assert seen[3:] == [StrikeRule("b", b"2", later[0]), StrikeRule("a", None, later[1])]

    async def test_rules_are_just_text(self, subject: Subject) -> None:
        """User text stands only in value positions."""
        rules = ["a:b", "{a}", "a'b\"", "a\\;--", "%s", "ä", "a\u0308", "\u202e"]
        for rule in rules:
            await subject.backend.strike(rule, rule.encode())
        async with subject.striking() as reader:
            seen = await reader.until(caught_up)
        assert told(seen) == [*((rule, rule.encode()) for rule in rules), CAUGHT_UP]

    @needs_disrupt
    async def test_history_again_after_a_reset(self, subject: Subject) -> None:
        """After a lost connection `StrikesReset`, and the history again."""
        await subject.backend.strike("a", b"1")
        async with subject.striking() as reader:
            await reader.until(caught_up)
            await subject.disrupt()
            seen = await reader.until(lambda seen: RESET in told(seen))
            after = len(seen)
            seen = await reader.until(lambda seen: caught_up(seen[after - 1 :]))
        assert ("a", b"1") in told(seen)[2:]
