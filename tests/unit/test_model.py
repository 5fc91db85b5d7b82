"""Records of the seam: plain, immutable, and acks that are built by their intention."""

import inspect

import pytest

from docket_core.backend import model
from docket_core.backend.capabilities import MEBIBYTE, Capabilities, Durability
from docket_core.backend.model import Ack, Claim, Gate, PermitRequest, Task, Verdict

CLAIM = Claim("k", 3, 99, "f", b"p", b"h", "r", 5, 1, 2, 10, 20)
REQUEST = PermitRequest(CLAIM, Gate("g", 1), "k", 7, bound=True)
SUCCESSOR = Task("k", "f", b"", "r2")
RECORDS = [kind for _, kind in inspect.getmembers(model, inspect.isclass) if hasattr(kind, "_fields")]


@pytest.mark.parametrize(
    ("ack", "verdict", "differs"),
    [
        (Ack.complete(CLAIM, b"1", successor=SUCCESSOR), Verdict.COMPLETE, {"result": b"1", "successor": SUCCESSOR}),
        (
            Ack.fail(CLAIM, "oh", b"e", reason="poison", successor=SUCCESSOR),
            Verdict.FAIL,
            {"error": "oh", "result": b"e", "reason": "poison", "successor": SUCCESSOR},
        ),
        (
            Ack.cancel(CLAIM, "denied", successor=SUCCESSOR),
            Verdict.CANCEL,
            {"reason": "denied", "successor": SUCCESSOR},
        ),
        (Ack.retry(CLAIM, attempt=3, delay=4), Verdict.RETRY, {"attempt": 3, "delay": 4}),
        (Ack.retry(CLAIM, attempt=3, when=4), Verdict.RETRY, {"attempt": 3, "when": 4}),
        (Ack.postpone(CLAIM, when=4), Verdict.POSTPONE, {"attempt": 2, "when": 4}),
        (Ack.postpone(CLAIM, delay=4), Verdict.POSTPONE, {"attempt": 2, "delay": 4}),
        (Ack.park(CLAIM, REQUEST), Verdict.PARK, {"attempt": 2, "request": REQUEST}),
        (Ack.release(CLAIM), Verdict.RELEASE, {"attempt": 2}),
    ],
)
def test_an_ack_says_what_its_constructor_says_and_nothing_else(
    ack: Ack, verdict: Verdict, differs: dict[str, object]
) -> None:
    assert ack == Ack(CLAIM, verdict)._replace(**differs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_there_is_a_constructor_for_every_verdict() -> None:
    assert all(callable(getattr(Ack, verdict.value)) for verdict in Verdict)


@pytest.mark.parametrize("kind", RECORDS)
def test_records_are_immutable(kind: type) -> None:
    assert issubclass(kind, tuple)


def test_capabilities_are_frozen_and_modest_by_default() -> None:
    facts = Capabilities(durable=True, distributed=True, push=False, transactional=False)
    assert (facts.time_resolution, facts.max_payload, facts.durability) == (1, MEBIBYTE, Durability.NONE)
    with pytest.raises(AttributeError):
        facts.durable = False  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", Capabilities.__slots__)
def test_every_capability_is_described(name: str) -> None:
    source = inspect.getsource(Capabilities)
    assert f"    {name}: " in source
    after = source.partition(f"    {name}: ")[2].splitlines()[1]
    assert after.strip().startswith('"""')
