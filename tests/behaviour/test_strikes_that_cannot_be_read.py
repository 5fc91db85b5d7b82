"""Case 9: a strike that cannot be decoded is skipped and counted, and workers start."""

import pickle
from typing import Any

import pytest

from docket_core import Docket
from docket_core.strikelist import StrikeList
from tests.support.workers import until, within, working


class Explodes:
    """Cannot be decoded: raises what it is told to while it is being made again."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, (self.error,)


def _explode(error: type[BaseException]) -> None:
    raise error("while it was decoded")


async def take(value: object) -> object:
    return value


@pytest.mark.parametrize(
    "instruction",
    [
        b"no pickle",
        b"",
        pickle.dumps("text"),
        pickle.dumps(("f", "p", "==")),
        pickle.dumps(("f", "p", "no operator", 1)),
        pickle.dumps((None, None, "==", 1)),
        pickle.dumps(("f", "p", "between", 1)),
        pickle.dumps((["f"], {"p": 1}, "==", 1)),
        pickle.dumps(("f", "p", "==", Explodes(SystemExit))),
        pickle.dumps(("f", "p", "==", Explodes(KeyboardInterrupt))),
    ],
)
async def test_case_09_a_strike_that_cannot_be_decoded(docket_url: str, instruction: bytes) -> None:
    async with Docket("orders", docket_url) as first:
        await first.backend.strike("bad rule", instruction)
        await first.strike("other", "value", "==", 7)
    async with Docket("orders", docket_url) as docket:
        await within(docket.wait_for_strikes_loaded())
        assert docket.strike_list.undecodable == 1
        assert len(docket.strike_list.strikes) == 1
        async with working(docket):
            execution = await docket.add(take)(1)
            assert await within(execution.get_result()) == 1


async def test_case_09_one_that_comes_while_a_worker_runs(docket: Docket) -> None:
    async with working(docket):
        await docket.backend.strike("bad rule", b"no pickle")
        await until(lambda: docket.strike_list.undecodable == 1)
        execution = await docket.add(take)(1)
        assert await within(execution.get_result()) == 1


async def test_case_09_a_list_that_stands_alone_skips_it_too(docket_url: str, docket: Docket) -> None:
    await docket.backend.strike("bad rule", b"no pickle")
    async with StrikeList(docket_url, docket.name) as strikes:
        await within(strikes.wait_for_strikes_loaded())
        assert (strikes.undecodable, strikes.in_effect) == (1, False)
