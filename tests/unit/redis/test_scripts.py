"""The scripts and the layout of the keys, on a Redis that is played in this process."""

from importlib.resources import files
from typing import cast

import pytest

from docket_redis.connection import Argument
from docket_redis.lua import NAMES, script
from docket_redis.records import joined, parted
from docket_redis.wire import portions, prefix_of
from tests.unit.redis.played import NOW, PREFIX, SECOND, Docket


def test_every_file_of_a_script_is_in_the_package_and_needed() -> None:
    folder = files("docket_redis") / "scripts"
    texts = [script(name).text for name in NAMES]
    assert all(any(file.read_bytes() in text for text in texts) for file in folder.iterdir())


def test_all_keys_have_one_hash_tag(docket: Docket) -> None:
    docket.add("a{b}c")
    docket.add("later", kind="d", moment=SECOND)
    docket.claim()
    assert all(name.startswith(PREFIX) for name in docket.names())


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("orders", "docket:{orders}:"),
        ("a{b}c", "docket:{a%7Bb%7Dc}:"),
        ("100%", "docket:{100%25}:"),
        ("a*[b]?", "docket:{a%2A%5Bb%5D%3F}:"),
        ("naïve", "docket:{na%C3%AFve}:"),
    ],
)
def test_a_name_cannot_leave_its_hash_tag(name: str, prefix: str) -> None:
    assert prefix_of(name) == prefix


def test_ready_work_stands_in_its_functions_stream(docket: Docket) -> None:
    docket.add("one")
    assert docket.keys() == {"t:one", "q:work", "k", "nx", "m"}
    assert docket.client.type(f"{PREFIX}q:work") == b"stream"


def test_later_work_stands_in_a_sorted_set_until_a_claim_moves_it(docket: Docket) -> None:
    docket.add("one", kind="d", moment=SECOND)
    assert docket.keys() == {"t:one", "s:work", "k", "nx", "m"}
    assert docket.claim() == []
    docket.now += SECOND
    assert docket.claim()[0] == b"one"
    assert docket.keys() == {"t:one", "l:work", "k", "nx", "m"}


def test_what_is_due_is_claimed_in_its_order_behind_what_is_ready(docket: Docket) -> None:
    """From the sorted set itself where nothing else is ready, and as many as were asked for."""

    def claimed(limit: int) -> list[bytes]:
        return cast("list[bytes]", docket.run("claim", "worker", limit, 30 * SECOND, "", 0, "", "work")[2])[::11]

    added = {"third": 3, "first": 1, "second": 2, "fifth": 5, "not yet": 20}
    for key, moment in added.items():
        docket.add(key, kind="d", moment=moment * SECOND)
    docket.now += 5 * SECOND
    assert claimed(2) == [b"first", b"second"]
    docket.add("sixth")
    assert claimed(1) == [b"third"]
    assert claimed(10) == [b"fifth", b"sixth"]
    assert claimed(10) == []
    docket.now += 15 * SECOND
    assert claimed(10) == [b"not yet"]
    assert docket.keys() == {"t:sixth", *(f"t:{key}" for key in added), "l:work", "k", "nx", "m"}


def test_nothing_is_left_but_the_newest_token(docket: Docket) -> None:
    docket.add("one")
    [key, _, token, *_] = docket.claim()
    assert docket.complete(key.decode(), token) == [b"A"]
    assert docket.keys() == {"m"}


def test_the_last_part_is_kept_for_the_retention(docket: Docket) -> None:
    docket.add("one")
    [_, _, token, *_] = docket.claim()
    docket.complete("one", token, retention=SECOND)
    assert docket.keys() == {"z:one", "ex", "k", "m"}
    docket.now += SECOND
    assert docket.run("prune", 10) == 1
    assert docket.keys() == {"m"}


def test_a_replaced_run_becomes_a_hold(docket: Docket) -> None:
    docket.add("one")
    docket.claim()
    docket.add("one", policy="replace")
    assert docket.keys() == {"t:one", "h:one", "lx", "k", "m"}
    assert docket.claim() == []


def test_the_token_is_above_all_before_and_not_below_the_time(docket: Docket) -> None:
    docket.add("one")
    docket.add("two")
    first, second = docket.claim()[2::11]
    assert NOW <= int(first) < int(second)
    docket.now -= 60 * SECOND
    docket.add("three")
    assert int(docket.claim()[2]) > int(second)
    docket.now += 3600 * SECOND
    docket.add("four")
    assert int(docket.claim()[-9]) >= docket.now


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 127, 128, 320, 384, 385, 1000])
def test_a_value_of_any_size_comes_back_whole(docket: Docket, size: int) -> None:
    payload = bytes(number % 256 for number in range(size))
    docket.add("one", payload=payload)
    assert docket.claim()[4] == payload


@pytest.mark.parametrize(
    ("payload", "headers"), [(b"", b""), (b"p", b""), (b"", b"h"), (b"1:2", b"3:4"), (b"\x00", b":")]
)
def test_long_content_is_one_string(payload: bytes, headers: bytes) -> None:
    assert parted(joined(payload, headers)) == (payload, headers)


def test_portions_are_neither_long_nor_large() -> None:
    small: list[list[Argument]] = [["key", b"x"]] * 1201
    large: list[list[Argument]] = [["key", b"x" * 3_000_000]] * 5
    assert [part.stop - part.start for part in portions(small)] == [500, 500, 201]
    assert [part.stop - part.start for part in portions(large)] == [2, 2, 1]
    assert portions([["key", b"x" * 20_000_000]]) == [slice(0, 1)]
    assert portions([]) == []
