"""How calls and results become bytes, and what a reader refuses."""

import enum
import math
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest

from docket_core import CloudpickleCodec, Docket, ExecutionFailed, ExecutionState, JsonCodec, Perpetual, Worker, signed
from docket_core.backend.model import Task
from docket_core.codec import Codec, CodecContext, encode_call
from docket_core.errors import PayloadRefused, Unserializable
from tests.support.workers import within, work_off

OLD, NEW = b"the old signing key, long enough", b"the new signing key, long enough"
decoded: list[bytes] = []
ran: list[object] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    decoded.clear()
    ran.clear()


class Watching(CloudpickleCodec):
    """Notes what it is given to decode."""

    def decode(self, data: bytes, context: CodecContext) -> object:
        decoded.append(data)
        return super().decode(data, context)


async def echo(value: object) -> object:
    ran.append(value)
    return value


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.requirement("R-080")
async def test_the_default_takes_what_cloudpickle_takes(docket: Docket) -> None:
    doubled = 2

    def twice(value: int) -> int:
        return value * doubled

    values: list[object] = [Colour.RED, datetime(2030, 1, 1, tzinfo=UTC), {1: (2, {3})}, None, b"\0", "ünï", 2**70, ()]
    executions = [await docket.add(echo)(value) for value in values]
    function = await docket.add(echo)(twice)
    await work_off(docket)
    assert [await execution.get_result() for execution in executions] == values
    assert (await function.get_result())(21) == 42


@pytest.fixture
async def plain(docket_url: str) -> AsyncGenerator[Docket, None]:
    """A docket that takes JSON only."""
    async with Docket("plain", docket_url, codec=JsonCodec()) as opened:
        yield opened


@pytest.mark.requirement("R-081")
@pytest.mark.parametrize("value", [None, True, 1, 1.5, "ü\n\"'", [], [1, [2, {"a": None}]], {"": {"b": []}}, 2**70])
async def test_json_takes_what_json_has(plain: Docket, value: object) -> None:
    execution = await plain.add(echo)(value)
    await work_off(plain)
    result = await execution.get_result()
    assert result == value
    assert type(result) is type(value)
    record = (await plain.backend.get([execution.key]))[0]
    assert record is not None
    assert record.last is not None
    assert record.last.payload.startswith(b"[[")


@pytest.mark.requirement("R-081")
@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: "a"}, {"a": (1,)}, [b"bytes"], Colour.RED, Level.HIGH, {1, 2}, math.nan, math.inf, object(), "\ud800"],
)
async def test_json_refuses_what_would_come_back_as_something_else(plain: Docket, value: object) -> None:
    with pytest.raises(Unserializable, match="cannot be encoded by the json codec"):
        await plain.add(echo)(value)
    assert (await plain.snapshot()).total_tasks == 0


@pytest.mark.requirement("R-081")
async def test_a_result_that_json_has_not_fails_its_task(plain: Docket) -> None:
    async def pair() -> tuple[int, int]:
        return 1, 2

    execution = await plain.add(pair)()
    await work_off(plain)
    with pytest.raises(ExecutionFailed, match="the result of pair cannot be encoded by the json codec"):
        await execution.get_result()


@pytest.mark.requirement("R-081", "R-023")
async def test_with_json_an_exception_is_kept_as_text(plain: Docket) -> None:
    async def go_wrong() -> None:
        raise LookupError("nobody of that name")

    execution = await plain.add(go_wrong, key="k")()
    await work_off(plain)
    with pytest.raises(ExecutionFailed, match=r"(?s)Traceback.*in go_wrong.*LookupError: nobody of that name"):
        await execution.get_result()


@pytest.mark.requirement("R-081")
async def test_a_pickle_is_refused_where_json_is_taken(plain: Docket, docket_url: str) -> None:
    plain.register(echo)
    async with Docket("plain", docket_url) as pickling:
        execution = await pickling.add(echo)(1)
    await work_off(plain)
    await _is_refused(plain, execution.key, "these bytes are no JSON")


async def _is_refused(docket: Docket, key: str, why: str) -> None:
    execution = await docket.get_execution(key)
    assert execution is not None
    assert execution.state is ExecutionState.FAILED
    assert execution.error is not None
    assert why in execution.error
    record = (await docket.backend.get([key]))[0]
    assert record is not None
    assert record.last is not None
    assert record.last.reason == "refused"
    assert ran == []


def signing(*keys: bytes) -> Codec:
    return signed(Watching(), keys)


@pytest.fixture
async def guarded(docket_url: str) -> AsyncGenerator[Docket, None]:
    """A docket that takes what the old key signed."""
    async with Docket("guarded", docket_url, codec=signing(OLD)) as opened:
        opened.register(echo)
        yield opened


@pytest.mark.requirement("R-082")
async def test_signed_calls_and_results_go_round(guarded: Docket) -> None:
    execution = await guarded.add(echo)({"a": 1})
    await work_off(guarded)
    assert await execution.get_result() == {"a": 1}
    assert len(decoded) >= 2


def bytes_for(codec: Codec, docket: str = "guarded", key: str = "k", function: str = "echo") -> bytes:
    return encode_call(codec, CodecContext(docket, key, function), ("evil",), {})


GOOD = bytes_for(signing(OLD))


@pytest.mark.requirement("R-082")
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(GOOD[:-1] + bytes([GOOD[-1] ^ 1]), id="last byte changed"),
        pytest.param(bytes([GOOD[0] ^ 1]) + GOOD[1:], id="signature changed"),
        pytest.param(GOOD[:-1], id="cut short"),
        pytest.param(b"", id="empty"),
        pytest.param(bytes_for(signing(NEW)), id="unknown key"),
        pytest.param(bytes_for(CloudpickleCodec()), id="not signed"),
        pytest.param(bytes_for(signing(OLD), docket="other"), id="other docket"),
        pytest.param(bytes_for(signing(OLD), key="other"), id="other key"),
        pytest.param(bytes_for(signing(OLD), function="other"), id="other function"),
    ],
)
async def test_what_is_not_signed_for_this_task_is_refused_before_it_is_decoded(
    guarded: Docket, payload: bytes
) -> None:
    await guarded.backend.enqueue([Task("k", "echo", payload, "a run")])
    honest = await guarded.add(echo, key="honest")("honest")
    decoded.clear()
    ran.clear()
    async with Worker(guarded, concurrency=1) as worker:
        await within(worker.run_until_finished())
    assert payload[32:] not in decoded
    assert ran == ["honest"]
    assert await honest.get_result() == "honest"
    ran.clear()
    await _is_refused(guarded, "k", "have no signature that holds here")


@pytest.mark.requirement("R-082")
async def test_a_forged_result_is_refused_where_it_is_awaited(guarded: Docket, docket_url: str) -> None:
    async with Docket("guarded", docket_url) as forger:
        execution = await guarded.add(echo)(1)
        claim = (await forger.backend.claim("forger", {"echo"}, 1, 30_000_000)).claims[0]
        from docket_core.backend.model import Ack

        await forger.backend.ack([Ack.complete(claim, CloudpickleCodec().encode("evil", CodecContext("", "", "")))])
    with pytest.raises(PayloadRefused):
        await execution.get_result()


@pytest.mark.requirement("R-083")
async def test_keys_are_changed_one_after_the_other(docket_url: str) -> None:
    """Add the new key last, put it first, take the old one out: what was signed before each step runs after it."""
    for before, after in (([OLD], [OLD, NEW]), ([OLD, NEW], [NEW, OLD]), ([NEW, OLD], [NEW])):
        async with Docket("keys", docket_url, codec=signing(*before)) as earlier:
            execution = await earlier.add(echo)("x")
            async with Docket("keys", docket_url, codec=signing(*after)) as later:
                later.register(echo)
                await work_off(later)
            assert await execution.get_result() == "x"


@pytest.mark.requirement("R-082")
@pytest.mark.parametrize("keys", [[], [b"short"], [OLD, b""]])
def test_a_ring_without_good_keys_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        signed(JsonCodec(), keys)


@pytest.mark.requirement("R-082")
def test_nothing_of_the_keys_is_shown() -> None:
    assert "old" not in repr(signing(OLD))
    assert "1 keys" in repr(signing(OLD))


@pytest.mark.requirement("R-082", "R-081")
async def test_signed_json_carries_a_chain(docket_url: str) -> None:
    seen: list[list[int]] = []

    async def grow(values: list[int], perpetual: Perpetual = Perpetual(every=timedelta(0))) -> None:
        seen.append(values)
        perpetual.perpetuate([*values, len(values)])

    async with Docket("both", docket_url, codec=signed(JsonCodec(), [OLD])) as docket:
        await docket.add(grow, key="grow")([])
        async with Worker(docket) as worker:
            await within(worker.run_at_most({"grow": 3}))
    assert seen == [[], [0], [0, 1]]
