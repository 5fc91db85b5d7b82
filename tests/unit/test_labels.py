"""Bounds of keys, names and bytes, and how whole items are refused."""

import unicodedata

import pytest
from hypothesis import given

from docket_core.backend import kit
from docket_core.backend.model import Ack, Claim, Gate, PermitRequest, Task
from docket_core.errors import DocketError, InvalidKey, PayloadTooLarge
from tests.support.texts import texts

CLAIM = Claim("k", 1, 2, "f", b"", b"", "r", 0, 1, 1, 0, 0)
COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")


@pytest.mark.parametrize(
    "text",
    [
        "a",
        " ",
        "a" * 512,
        "é" * 256,
        "\U0001f4e6" * 128,
        ":{}%'\";\\*?[]",
        COMPOSED,
        DECOMPOSED,
        "\u202eright to left\u2069",
        "\u2028",
        "\ufffe\ufdd0",
        "queue",
    ],
)
def test_labels_that_are_taken_as_they_are(text: str) -> None:
    kit.check_label("key", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the key is empty"),
        ("a" * 513, "513 bytes of UTF-8; at most 512"),
        ("é" * 257, "514 bytes"),
        ("\U0001f4e6" * 129, "516 bytes"),
        ("a\nb", "control characters"),
        ("\0", "control characters"),
        ("\x1f", "control characters"),
        ("\x7f", "control characters"),
        ("\x80", "control characters"),
        ("\x9f", "control characters"),
        ("é\t", "control characters"),
        ("\ud800", "no valid Unicode text"),
        ("a\udfffb", "no valid Unicode text"),
        ("\ud800" * 600, "no valid Unicode text"),
    ],
)
def test_labels_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidKey, match=words) as caught:
        kit.check_label("key", text)
    str(caught.value).encode()  # fit for any log


@given(texts(max_size=300, surrogates=True))
def test_a_label_is_taken_exactly_within_its_bounds(text: str) -> None:
    fine = (
        0 < len(text.encode(errors="surrogatepass")) <= 512
        and not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
    )  # fmt: skip
    assert (refusal(text) is None) is fine


def refusal(text: str) -> DocketError | None:
    return kit.refusal_of_task(Task(text, "f", b"", "r"), 10)


@pytest.mark.parametrize("size", [0, 1, 10])
def test_bytes_within_the_limit(size: int) -> None:
    kit.check_size("payload", b"x" * size, 10)


def test_no_bytes_are_within_any_limit() -> None:
    kit.check_size("result", None, 0)


def test_bytes_over_the_limit_say_how_many() -> None:
    with pytest.raises(PayloadTooLarge, match="the payload has 1,048,577 bytes; at most 1,048,576 are taken"):
        kit.check_size("payload", b"x" * 1_048_577, 1_048_576)


@pytest.mark.parametrize(
    ("task", "error", "words"),
    [
        (Task("", "f", b"", "r"), InvalidKey, "the key"),
        (Task("k", "a\nb", b"", "r"), InvalidKey, "the function name"),
        (Task("k", "f", b"", ""), InvalidKey, "the run id"),
        (Task("k", "f", b"x" * 11, "r"), PayloadTooLarge, "the payload"),
        (Task("k", "f", b"", "r", headers=b"x" * (16 * 1024 + 1)), PayloadTooLarge, "the headers"),
    ],
)
def test_why_a_task_is_refused(task: Task, error: type[DocketError], words: str) -> None:
    refused = kit.refusal_of_task(task, 10)
    assert isinstance(refused, error)
    assert words in str(refused)


def test_a_task_at_every_bound_is_taken() -> None:
    assert kit.refusal_of_task(Task("k" * 512, "f" * 512, b"x" * 10, "r" * 512, b"x" * 16 * 1024), 10) is None


def permit(gate: str = "g", holder: str = "h") -> PermitRequest:
    return PermitRequest(CLAIM, Gate(gate, 1), holder, 1)


@pytest.mark.parametrize(
    ("ack", "error", "words"),
    [
        (Ack.complete(CLAIM, b"x" * 11), PayloadTooLarge, "the result"),
        (Ack.fail(CLAIM, "x" * (16 * 1024 + 1)), PayloadTooLarge, "the error text"),
        (Ack.fail(CLAIM, "é" * (8 * 1024 + 1)), PayloadTooLarge, "the error text has 16,386 bytes"),
        (Ack.complete(CLAIM, successor=Task("other", "f", b"", "r")), InvalidKey, "the successor of 'k'"),
        (Ack.complete(CLAIM, successor=Task("k", "f", b"x" * 11, "r")), PayloadTooLarge, "the payload"),
        (Ack.park(CLAIM, permit(gate="")), InvalidKey, "the gate name"),
        (Ack.park(CLAIM, permit(holder="h" * 2049)), InvalidKey, "the permit holder"),
    ],
)
def test_why_an_ack_is_refused(ack: Ack, error: type[DocketError], words: str) -> None:
    refused = kit.refusal_of_ack(ack, 10)
    assert isinstance(refused, error)
    assert words in str(refused)


@pytest.mark.parametrize(
    "ack",
    [
        Ack.complete(CLAIM),
        Ack.complete(CLAIM, b"x" * 10, successor=Task("k", "g", b"x" * 10, "r2")),
        Ack.fail(CLAIM, "x" * 16 * 1024),
        Ack.fail(CLAIM, "\ud800 is shown as it can be"),
        Ack.cancel(CLAIM, "dropped"),
        Ack.retry(CLAIM, attempt=2),
        Ack.postpone(CLAIM, delay=5),
        Ack.park(CLAIM, permit("g" * 2048, "h" * 2048)),
        Ack.release(CLAIM),
    ],
)
def test_acks_within_their_bounds(ack: Ack) -> None:
    assert kit.refusal_of_ack(ack, 10) is None


def test_permit_requests_are_refused_for_their_names() -> None:
    assert not kit.is_refused(permit())
    assert kit.is_refused(permit(gate="a\nb"))
    assert kit.is_refused(permit(holder=""))


def test_requests_are_grouped_by_grant_and_keep_their_positions() -> None:
    other = CLAIM._replace(token=3)
    requests = [permit("a"), permit("b"), permit("c")._replace(claim=other), permit("d")]
    grouped = [(position, [request.gate.name for request in group]) for position, group in kit.groups(requests)]
    assert grouped == [(0, ["a", "b"]), (2, ["c"]), (3, ["d"])]
    assert kit.groups([]) == []
