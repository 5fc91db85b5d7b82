"""A follower of strikes that has missed news learns of all there is, and that nothing else is true."""

import asyncio

from docket_core.backend.records import StrikeEvent, StrikeRule, StrikesCaughtUp, StrikesReset
from docket_sqlite.strikes import StrikeReader


async def told(reader: StrikeReader) -> list[StrikeEvent]:
    """What it has to tell by now."""
    events: list[StrikeEvent] = []
    while True:
        try:
            async with asyncio.timeout(0):
                events.append(await anext(reader))
        except TimeoutError:
            return events


async def test_what_was_struck_and_restored_unheard_is_no_rule_for_anybody() -> None:
    """Whoever struck has noted it at once, and must learn that somebody else has taken it back since."""
    reader = StrikeReader()
    reader.see(0, {})
    assert await told(reader) == [StrikesCaughtUp(0)]
    reader.see(2, {})
    assert await told(reader) == [StrikesReset(), StrikesCaughtUp(2)]


async def test_news_in_their_order_are_told_as_they_are() -> None:
    reader = StrikeReader()
    reader.see(0, {})
    assert reader.hear(StrikeRule("a", b"1", 1))
    assert reader.hear(StrikeRule("a", b"1", 1)), "known already"
    assert not reader.hear(StrikeRule("a", b"3", 3)), "the second is missing"
    reader.see(1, {"a": (1, b"1")})
    assert await told(reader) == [StrikesCaughtUp(0), StrikeRule("a", b"1", 1)]


async def test_what_was_missed_is_told_as_a_whole() -> None:
    reader = StrikeReader()
    reader.see(1, {"a": (1, b"1")})
    reader.see(3, {"b": (3, b"3")})
    assert await told(reader) == [
        StrikeRule("a", b"1", 1),
        StrikesCaughtUp(1),
        StrikesReset(),
        StrikeRule("b", b"3", 3),
        StrikesCaughtUp(3),
    ]
