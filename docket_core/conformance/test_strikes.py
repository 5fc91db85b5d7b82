"""Strikes: a durable ordered log of instructions, compacted to what is in force."""

from docket_core.backend.records import StrikeRule, StrikesCaughtUp, StrikesReset
from docket_core.conformance.marks import Requirements, needs_disrupt
from docket_core.conformance.subject import Subject


def caught_up(seen: list[object]) -> bool:
    return any(isinstance(event, StrikesCaughtUp) for event in seen)


def told(rule_id: str, instruction: bytes | None) -> StrikeRule:
    return StrikeRule(rule_id, instruction)


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
        assert seen == [told("a", b"1"), told("b", b"\x00\xff"), StrikesCaughtUp(), told("c", b"3"), told("a", None)]
        assert [type(event) for event in seen].count(StrikesCaughtUp) == 1

    async def test_changes_of_a_rule_in_force_are_told(self, subject: Subject) -> None:
        """Every change in order: also one of a rule that is in force already."""
        await subject.backend.strike("a", b"1")
        async with subject.striking() as reader:
            await reader.until(caught_up)
            for instruction in (b"2", b"3", None):
                await subject.backend.strike("a", instruction)
            seen = await reader.until(lambda seen: seen[-1] == told("a", None))
        assert seen[2:] == [told("a", b"2"), told("a", b"3"), told("a", None)]

    async def test_newest_of_a_rule_counts(self, subject: Subject) -> None:
        """The newest per rule kept: the log is what is in force, not what ever was."""
        for number in range(20):
            await subject.backend.strike("a", b"%d" % number)
            await subject.backend.strike("b", b"%d" % number)
        await subject.backend.strike("a", b"newest")
        async with subject.striking() as reader:
            seen = await reader.until(caught_up)
        assert seen == [told("b", b"19"), told("a", b"newest"), StrikesCaughtUp()]

    async def test_none_removes_the_rule(self, subject: Subject) -> None:
        """None removes the rule: who comes later is not told of it."""
        await subject.backend.strike("a", b"1")
        await subject.backend.strike("b", b"2")
        await subject.backend.strike("a", None)
        await subject.backend.strike("unknown", None)
        async with subject.striking() as reader:
            seen = await reader.until(caught_up)
        assert seen == [told("b", b"2"), StrikesCaughtUp()]

    async def test_nothing_in_force(self, subject: Subject) -> None:
        """`caught_up` once, also where there is nothing to tell."""
        async with subject.striking() as reader:
            assert await reader.until(caught_up) == [StrikesCaughtUp()]

    async def test_other_instances_are_told(self, subject: Subject) -> None:
        """Strikes are durable and live: every instance is told, now and when it comes later."""
        other = await subject.another()
        async with subject.striking(by=other) as reader:
            await reader.until(caught_up)
            await subject.backend.strike("a", b"1")
            await reader.until(lambda seen: told("a", b"1") in seen)
        async with subject.striking(by=await subject.another()) as late:
            assert await late.until(caught_up) == [told("a", b"1"), StrikesCaughtUp()]

    async def test_rules_are_just_text(self, subject: Subject) -> None:
        """User text stands only in value positions."""
        rules = ["a:b", "{a}", "a'b\"", "a\\;--", "%s", "ä", "a\u0308", "\u202e"]
        for rule in rules:
            await subject.backend.strike(rule, rule.encode())
        async with subject.striking() as reader:
            seen = await reader.until(caught_up)
        assert seen == [*(told(rule, rule.encode()) for rule in rules), StrikesCaughtUp()]

    @needs_disrupt
    async def test_history_again_after_a_reset(self, subject: Subject) -> None:
        """After a lost connection `StrikesReset`, and the history again."""
        await subject.backend.strike("a", b"1")
        async with subject.striking() as reader:
            await reader.until(caught_up)
            await subject.disrupt()
            seen = await reader.until(lambda seen: any(isinstance(event, StrikesReset) for event in seen))
            after = len(seen)
            seen = await reader.until(lambda seen: caught_up(seen[after - 1 :]))
        assert told("a", b"1") in seen[2:]
