"""Strikes become bytes, and come back, by the docket's codec alone."""

import pickle
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from docket_core import CloudpickleCodec, Disposition, Docket, JsonCodec, StrikeList, signed
from docket_core.backend.records import StrikeRule, StrikesCaughtUp
from docket_core.codec import Codec, CodecContext, encode_result
from docket_core.errors import Unserializable
from docket_core.strikes import Strike
from tests.support.workers import until, within, work_off

OLD, NEW = b"the old signing key, long enough", b"the new signing key, long enough"
CODECS: dict[str, Codec] = {
    "json": JsonCodec(),
    "signed json": signed(JsonCodec(), [OLD]),
    "signed pickles": signed(CloudpickleCodec(), [OLD]),
}
GOOD = Strike("send", "to", value="mallory")
unpickled: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    unpickled.clear()


@pytest.fixture(params=CODECS)
async def guarded(request: pytest.FixtureRequest, docket_url: str) -> AsyncGenerator[Docket, None]:
    """A docket that does not take what others pickled."""
    async with Docket("orders", docket_url, codec=CODECS[request.param]) as docket:
        await within(docket.wait_for_strikes_loaded())
        yield docket


@pytest.fixture
async def keyed(docket_url: str) -> AsyncGenerator[Docket, None]:
    """A docket that takes what the old key signed."""
    async with Docket("orders", docket_url, codec=signed(CloudpickleCodec(), [OLD])) as docket:
        yield docket


class Evil:
    """Notes that it was unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _note, ("evil",)


def _note(text: str) -> str:
    unpickled.append(text)
    return text


async def send(to: object) -> object:
    return to


async def kept(docket: Docket) -> list[StrikeRule]:
    """What the store keeps."""
    found: list[StrikeRule] = []
    async with docket.backend.strikes() as events:
        async for event in events:
            if isinstance(event, StrikesCaughtUp):
                break
            assert isinstance(event, StrikeRule)
            found.append(event)
    return found


@pytest.mark.requirement("R-074", "R-081", "R-082")
async def test_a_pickle_of_who_has_no_key_runs_nothing(guarded: Docket, docket_url: str) -> None:
    for number, value in enumerate(([*("send", "to", "=="), Evil()], Evil(), ("send", None, "==", Evil()))):
        await guarded.backend.strike(f"rule {number}", pickle.dumps(value))
    await until(lambda: guarded.strike_list.undecodable == 3)
    async with (
        StrikeList(docket_url, "orders", codec=guarded.codec) as alone,
        Docket("orders", docket_url, codec=guarded.codec) as late,
    ):
        await within(alone.wait_for_strikes_loaded())
        await within(late.wait_for_strikes_loaded())
        assert (alone.undecodable, late.strike_list.undecodable) == (3, 3)
        assert not alone.in_effect
        execution = await late.add(send)("ann")
        await work_off(late)
        assert await execution.get_result() == "ann"
    assert unpickled == []


@pytest.mark.requirement("R-074")
async def test_the_pickle_that_the_others_refuse_does_run_code_by_default(docket: Docket) -> None:
    """Else the test above would show nothing."""
    await docket.backend.strike("rule", pickle.dumps(["send", "to", "==", Evil()]))
    await until(lambda: docket.strike_list.in_effect)
    assert unpickled == ["evil"]


@pytest.mark.requirement("R-070", "R-073", "R-081", "R-082")
@pytest.mark.parametrize(
    ("operator", "value", "struck"),
    [("==", "mallory", "mallory"), ("==", {"a": [1, None]}, {"a": [1, None]}), ("between", (1, 5), 3), (">", 1, 2)],
)
async def test_strikes_go_round_by_any_codec(
    guarded: Docket, docket_url: str, operator: str, value: object, struck: object
) -> None:
    await guarded.strike(send, "to", operator, value)
    async with Docket("orders", docket_url, codec=guarded.codec) as late:
        await within(late.wait_for_strikes_loaded())
        assert (await late.add(send)(struck)).disposition is Disposition.STRUCK
        assert late.strike_list.undecodable == 0
        await late.restore(send, "to", operator, value)
        await until(lambda: not guarded.strike_list.in_effect)
    assert await kept(guarded) == []


@pytest.mark.requirement("R-081")
@pytest.mark.parametrize("value", [(1, 2), b"bytes", {1: 2}, object()])
async def test_what_json_has_not_is_refused_before_anything_is_written(docket_url: str, value: object) -> None:
    async with (
        Docket("orders", docket_url, codec=JsonCodec()) as docket,
        StrikeList(docket_url, "orders", codec=JsonCodec()) as alone,
    ):
        for strike in (docket.strike, alone.strike):
            with pytest.raises(Unserializable, match="the strike cannot be encoded by the json codec: TypeError: JSON"):
                await strike(send, "to", "==", value)
        assert not docket.strike_list.in_effect
        assert not alone.in_effect
        assert await kept(docket) == []


@pytest.mark.requirement("R-081")
async def test_what_was_struck_before_the_docket_took_json_can_be_restored(docket: Docket, docket_url: str) -> None:
    await docket.strike(send, "to", "==", (1, 2))
    async with Docket("orders", docket_url, codec=JsonCodec()) as plain:
        await within(plain.wait_for_strikes_loaded())
        assert (plain.strike_list.undecodable, plain.strike_list.in_effect) == (1, False)
        await plain.restore(send, "to", "==", (1, 2))
        assert await kept(plain) == []


@pytest.mark.requirement("R-082")
@pytest.mark.parametrize(
    "instruction",
    [
        pytest.param(GOOD.encode(CloudpickleCodec(), "orders"), id="not signed"),
        pytest.param(GOOD.encode(signed(CloudpickleCodec(), [NEW]), "orders"), id="unknown key"),
        pytest.param(GOOD.encode(signed(CloudpickleCodec(), [OLD]), "other"), id="other docket"),
        pytest.param(Strike("send").encode(signed(CloudpickleCodec(), [OLD]), "orders"), id="other rule"),
        pytest.param(GOOD.encode(signed(CloudpickleCodec(), [OLD]), "orders")[:-1], id="cut short"),
        pytest.param(
            encode_result(
                signed(CloudpickleCodec(), [OLD]),
                CodecContext("orders", GOOD.rule_id(), "strike"),
                ["send", "to", "==", "mallory"],
            ),
            id="a task's result",
        ),
        pytest.param(b"", id="empty"),
    ],
)
async def test_what_is_not_signed_as_this_strike_of_this_docket_is_skipped(
    keyed: Docket, instruction: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await keyed.backend.strike(GOOD.rule_id(), instruction)
    await until(lambda: keyed.strike_list.undecodable == 1)
    assert "skipped a strike that cannot be read: the bytes of strike" in caplog.text
    assert not keyed.strike_list.in_effect


@pytest.mark.requirement("R-083")
async def test_a_strike_is_restored_after_the_keys_were_changed(keyed: Docket, docket_url: str) -> None:
    """A rule's identity does not hang on the key that signed it, not even for a value that only pickles."""
    values: list[object] = ["mallory", {1, 2}]
    for value in values:
        await keyed.strike(send, "to", "==", value)
    async with Docket("orders", docket_url, codec=signed(CloudpickleCodec(), [NEW, OLD])) as later:
        await within(later.wait_for_strikes_loaded())
        assert [strike.value for strike in later.strike_list.strikes] == values
        for value in values:
            await later.restore(send, "to", "==", value)
        assert await kept(later) == []
