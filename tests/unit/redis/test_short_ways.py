"""Scripts that have a short way, and the hand-over: what they write is what the long way writes."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from docket_core.backend.model import Enqueued, Task
from docket_redis.connection import Argument, Reply
from docket_redis.lua import FILES, script
from docket_redis.lua import joined as joined_files
from docket_redis.wire import enqueued
from tests.unit.redis.played import NOW, PREFIX, SECOND, Docket, content


@pytest.mark.parametrize("payload", [b"p", b"p" * 64, b"p" * 65, b"p" * 384, b"p" * 385])
@pytest.mark.parametrize("headers", [b"", b"h" * 70])
@pytest.mark.parametrize("attempt", [1, 3])
@pytest.mark.parametrize("before", ["nothing", "another", "a due one", "a later one"])
def test_a_single_new_task_is_written_by_a_short_way_as_by_the_long_one(
    docket: Docket, payload: bytes, headers: bytes, attempt: int, before: str
) -> None:
    """The script `replace` goes the long way, with the policy `keep`, too."""
    item: tuple[Argument, ...] = ("one", "work", "run", "n", 0, attempt, 0, payload, headers)
    added = Task("one", "work", payload, "run", headers, attempt=attempt)
    seen: list[tuple[list[Enqueued], dict[str, object], list[object]]] = []
    for name in ("enqueue", "replace"):
        docket = Docket()
        if before == "another":
            docket.add("another")
        if before in {"a due one", "a later one"}:
            docket.add("scheduled", kind="d", moment=SECOND)
            docket.now += SECOND if before == "a due one" else 0
        client: Any = docket.client
        heard = client.pubsub(ignore_subscribe_messages=True)
        heard.psubscribe("*")
        reply = enqueued([added], docket.run(name, "keep", *item))
        messages = [message["data"] for _ in range(5) if (message := heard.get_message()) is not None]
        seen.append((reply, content(docket), messages))
    assert seen[0] == seen[1]


def one(docket: Docket) -> None:
    docket.add("one")


def long_one(docket: Docket) -> None:
    docket.run("enqueue", "keep", "one", "work", "run", "n", 0, 3, 0, b"p" * 150, b"h" * 385)


def of_another_function(docket: Docket, kind: str = "n") -> None:
    docket.run("enqueue", "keep", "other", "play", "run", kind, SECOND, 1, 0, b"p", b"")


def later(docket: Docket) -> None:
    docket.add("later", kind="d", moment=SECOND)


def later_of_another(docket: Docket) -> None:
    of_another_function(docket, "d")


def running(docket: Docket) -> None:
    docket.add("running")
    docket.claim()


def tried_before(docket: Docket) -> None:
    docket.add("again")
    docket.run("ack", "again", 1, docket.claim()[2], "R", "n", 0, 2)


def lapsed(docket: Docket) -> None:
    running(docket)
    docket.now += 31 * SECOND


def replaced(docket: Docket) -> None:
    running(docket)
    docket.add("running", policy="replace")


def asked_to_stop(docket: Docket) -> None:
    running(docket)
    docket.run("cancel", "running")


def released(docket: Docket) -> None:
    docket.add("back")
    docket.run("ack", "back", 1, docket.claim()[2], "L")


def cleared(docket: Docket) -> None:
    docket.add("gone")
    docket.run("cancel", "gone")


THE_SHORT_WAY, ALL_BUT_IT = (joined_files(names).decode() for names in (FILES["claim"][:1], FILES["claim"][1:]))


@pytest.mark.parametrize("asked", [("work",), ("play", "work", "rest"), ("rest",), ()])
@pytest.mark.parametrize("limit", [0, 1, 10])
@pytest.mark.parametrize(
    "before",
    [
        *([one], [long_one], [one, of_another_function], [later, one], [one, later_of_another], [running, one]),
        *([lapsed, one], [replaced, one], [replaced, lapsed], [asked_to_stop, lapsed, one], [asked_to_stop, one]),
        *([tried_before], [released], [released, one], [cleared, one], [one, one, lapsed], [cleared], []),
        *([later, later_of_another, long_one], [running, later, of_another_function]),
    ],
)
def test_a_single_ready_task_is_claimed_by_a_short_way_as_by_the_long_one(
    before: list[Callable[[Docket], None]], limit: int, asked: tuple[str, ...]
) -> None:
    seen: list[tuple[Reply, dict[str, object]]] = []
    for text in (script("claim").text.decode(), ALL_BUT_IT):
        docket = Docket()
        for prepare in before:
            prepare(docket)
        arguments = ("worker", limit, 30 * SECOND, 3, int(not asked), "", *asked)
        client: Any = docket.client
        seen.append((client.eval(text, 1, PREFIX, docket.now, 0, *arguments), content(docket)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(("before", "short"), [(one, True), (tried_before, True), (released, False), (lapsed, False)])
def test_the_short_way_is_taken_where_it_can_be(docket: Docket, before: Callable[[Docket], None], short: bool) -> None:
    before(docket)
    arguments = ("worker", 10, 30 * SECOND, 3, 0, "", "work")
    client: Any = docket.client
    assert (client.eval(THE_SHORT_WAY, 1, PREFIX, docket.now, 0, *arguments) is not None) == short


ASK: tuple[Argument, ...] = ("me.1", "worker", 30 * SECOND, 2 * SECOND)
"""Of a worker that listens on the channel `a:me`."""


@pytest.fixture
def listening(docket: Docket) -> Any:
    client: Any = docket.client
    heard = client.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(f"{PREFIX}a:me")
    heard.get_message()
    return heard


@pytest.mark.parametrize("payload", [b"p", b"p" * 64, b"p" * 65, b"\x1f\x00" * 100])
@pytest.mark.parametrize("headers", [b"", b"h" * 70])
@pytest.mark.parametrize("attempt", [1, 3])
@pytest.mark.parametrize("asked", [(1,), (0, "work"), (0, "play", "work", "rest")])
def test_what_is_handed_over_is_written_as_by_an_add_and_a_claim(
    docket: Docket, listening: Any, payload: bytes, headers: bytes, attempt: int, asked: tuple[Argument, ...]
) -> None:
    item: tuple[Argument, ...] = ("one", "work", "run", "n", 0, attempt, 0, payload, headers)
    assert docket.run("ask", *ASK, *asked) == 1
    replies = [docket.run("enqueue", "keep", *item)]
    twin = Docket()
    replies.append(twin.run("enqueue", "keep", *item))
    claimed = twin.claim()
    assert replies == [b"R%d" % NOW, b"Q%d" % NOW]
    kept, expected = content(docket), content(twin)
    assert cast("dict[bytes, bytes]", kept[f"{PREFIX}m"]).pop(b"handed") == b"me.1\x1fone\x1f" + claimed[2]
    record = cast("dict[bytes, bytes]", expected[f"{PREFIX}t:one"])
    assert record.pop(b"i") == b""  # it never had a place in the stream
    assert kept == expected
    name, worker, at, until, *rest, size, data = listening.get_message()["data"].split(b"\x1f", 10)
    assert (name, worker, int(at), int(until)) == (b"me.1", b"worker", NOW, NOW + 30 * SECOND)
    assert rest == [claimed[2], b"one", b"work", b"run", b"%d" % attempt]
    assert (data[: int(size)], data[int(size) :]) == (payload, headers)


def two_seconds_later(docket: Docket) -> None:
    docket.now += 2 * SECOND


def another_asks(docket: Docket) -> None:
    docket.run("ask", "other.1", "other", 30 * SECOND, 2 * SECOND, 1)


def very_long_one(docket: Docket) -> None:
    docket.run("enqueue", "keep", "long", "work", "run", "n", 0, 1, 1, b"p" * 1000, b"")


def a_claim(docket: Docket) -> None:
    docket.run("claim", "worker", 10, 30 * SECOND, 3, 0, "me.1", "work")


@pytest.mark.parametrize(
    ("asked", "between"),
    [
        (("play",), []),
        (("work",), [two_seconds_later]),
        (("work",), [another_asks]),
        (("work",), [a_claim]),
        (("work",), [very_long_one]),
        (("work",), [later, two_seconds_later]),
    ],
    ids=["another function", "late", "another asks", "a claim", "one that waits", "one that is due"],
)
def test_what_is_not_to_be_handed_over_is_added_as_ever(
    docket: Docket, listening: Any, asked: tuple[str, ...], between: list[Callable[[Docket], None]]
) -> None:
    assert docket.run("ask", *ASK, 0, *asked) == 1
    for act in between:
        act(docket)
    docket.add("new")
    assert cast("Any", docket.client).hget(f"{PREFIX}t:new", "s") == b"q"
    assert listening.get_message() is None


def test_one_ask_brings_one_task(docket: Docket, listening: Any) -> None:
    docket.run("ask", *ASK, 1)
    docket.add("first")
    docket.add("second")
    assert listening.get_message()["data"].split(b"\x1f")[5] == b"first"
    assert listening.get_message() is None
    assert docket.claim()[0] == b"second"


def test_who_is_gone_is_handed_nothing(docket: Docket) -> None:
    """Nobody listens on its channel."""
    docket.run("ask", *ASK, 1)
    docket.add("one")
    assert docket.keys() == {"t:one", "q:work", "k", "nx", "m"}
    assert docket.claim()[0] == b"one"


@pytest.mark.parametrize(("before", "taken"), [(one, 0), (later, 1), (running, 1), (lapsed, 0), ([], 1)])
def test_who_asks_is_told_of_what_is_ready(
    docket: Docket, before: Callable[[Docket], None] | list[object], taken: int
) -> None:
    if callable(before):
        before(docket)
    assert docket.run("ask", *ASK, 0, "play", "work") == taken
    assert docket.run("ask", *ASK, 1) == taken


def test_a_claim_brings_what_was_handed_over_and_not_heard_of(docket: Docket, listening: Any) -> None:
    """Once, and as of the moment at which it was granted; to the ask that it went to only."""
    del listening
    docket.run("ask", *ASK, 1)
    docket.add("one")
    docket.now += SECOND
    claim = ("claim", "worker", 10, 30 * SECOND, 3, 0)
    assert docket.run(*claim, "me.2", "work")[2] == []
    now, next_at, [key, *_], ended, granted = docket.run(*claim, "me.1", "work")
    assert (int(now), int(next_at), key, ended, int(granted)) == (docket.now, docket.now, b"one", [], NOW)
    docket.now += 29 * SECOND
    *_, claims, _ = docket.run(*claim, "me.1", "work")
    assert claims[8] == b"2", "its lease was over: it is taken over as any other"
