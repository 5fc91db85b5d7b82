"""Shared round trips: everybody gets an answer of their own, whatever becomes of the others."""

import asyncio
from collections.abc import Sequence

import pytest

from docket_core.batching import Batcher
from docket_core.errors import BackendUnavailable


class Wire:
    """Answers each item with its double, once it is let."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.let = asyncio.Event()
        self.error: Exception | None = None

    async def send(self, items: list[int]) -> Sequence[int]:
        self.calls.append(items)
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return [2 * item for item in items]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_goes_out_alone_and_the_others_together() -> None:
    wire = Wire()
    batcher = Batcher[int, int](wire.send)
    asked = [asyncio.create_task(batcher(number)) for number in range(5)]
    await turns()
    assert wire.calls == [[0]]
    wire.let.set()
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8]
    assert wire.calls == [[0], [1, 2, 3, 4]]


async def test_a_batch_has_its_limit() -> None:
    wire = Wire()
    batcher = Batcher[int, int](wire.send, limit=2)
    asked = [asyncio.create_task(batcher(number)) for number in range(6)]
    await turns()
    wire.let.set()
    assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8, 10]
    assert wire.calls == [[0], [1, 2], [3, 4], [5]]


async def test_many_that_wait_do_not_wait_for_the_call_under_way() -> None:
    wire = Wire()
    batcher = Batcher[int, int](wire.send, enough=3)
    asked = [asyncio.create_task(batcher(number)) for number in range(3)]
    await turns()
    assert wire.calls == [[0]]
    asked += [asyncio.create_task(batcher(number)) for number in range(3, 5)]
    await turns()
    assert wire.calls == [[0], [1, 2, 3, 4]]
    asked += [asyncio.create_task(batcher(number)) for number in range(5, 9)]
    await turns()
    assert wire.calls == [[0], [1, 2, 3, 4]]  # never a third one
    wire.let.set()
    assert await asyncio.gather(*asked) == [2 * number for number in range(9)]
    assert wire.calls == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert await batcher(9) == 18


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_one_who_is_cancelled_in_the_middle_takes_no_answer_from_the_others(cancelled: int) -> None:
    wire = Wire()
    batcher = Batcher[int, int](wire.send)
    asked = [asyncio.create_task(batcher(number)) for number in range(3)]
    await turns()
    asked[cancelled].cancel()
    await turns()
    wire.let.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers.pop(cancelled), asyncio.CancelledError)
    assert answers == [2 * number for number in range(3) if number != cancelled]
    assert await batcher(7) == 14  # and those who come later are served


async def test_an_error_reaches_all_whose_call_it_was_and_nobody_else() -> None:
    wire = Wire()
    batcher = Batcher[int, int](wire.send)
    wire.error = BackendUnavailable("away")
    asked = [asyncio.create_task(batcher(number)) for number in range(3)]
    wire.let.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [BackendUnavailable] * 3
    wire.error = None
    assert await batcher(1) == 2


async def test_what_is_held_goes_out_later_in_its_order_and_others_pass_it() -> None:
    wire, odd_are_held = Wire(), True
    wire.let.set()
    batcher = Batcher[int, int](wire.send, held=lambda number: odd_are_held and number % 2 == 1)
    asked = [asyncio.create_task(batcher(number)) for number in (1, 3, 2, 5, 4)]
    await turns()
    assert wire.calls == [[2], [4]]
    odd_are_held = False
    late = asyncio.create_task(batcher(7))
    batcher.go_on()
    assert await asyncio.gather(*asked, late) == [2, 6, 4, 10, 8, 14]
    assert wire.calls == [[2], [4], [1, 3, 5, 7]]
