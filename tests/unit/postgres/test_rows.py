"""Between records and rows: what Postgres cannot hold is made safe, and a batch is cut so that no row changes twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docket_postgres.errors import translate
from docket_postgres.rows import count, length, moment, name, storable, text, waves
from tests.support.texts import texts


@settings(max_examples=40)
@given(texts())
def test_text_is_made_safe_and_safe_text_is_left_alone(value: str) -> None:
    made = text(value)
    assert made is not None
    assert "\0" not in made
    assert (made == value) == storable(value)


@settings(max_examples=40)
@given(texts(min_size=1), texts(min_size=1))
def test_long_names_stay_distinct_and_fit_an_index(one: str, other: str) -> None:
    pair = (name(one * 300), name(other * 300))
    assert all(len(made.encode()) < 700 for made in pair)
    assert (pair[0] == pair[1]) == (one * 300 == other * 300)


def test_a_short_name_cannot_be_mistaken_for_a_long_ones() -> None:
    assert name("a" * 200) == "a" * 200
    assert len(name("a" * 201).encode()) > 200


@settings(max_examples=40)
@given(st.lists(st.sampled_from("abcd")))
def test_waves_have_each_key_once_in_byte_order_and_keep_the_order_of_one_key(keys: list[str]) -> None:
    made = waves((key, position) for position, key in enumerate(keys))
    for wave in made:
        assert [key for key, _ in wave] == sorted({key for key, _ in wave})
    for key in set(keys):
        positions = [position for wave in made for found, position in wave if found == key]
        assert positions == [position for position, found in enumerate(keys) if found == key]
    assert sum(map(len, made)) == len(keys)


@pytest.mark.parametrize("value", [2**70, -(2**70), 2**63 - 1])
def test_numbers_are_kept_within_a_bigint(value: int) -> None:
    for bounded in (moment(value), length(value), count(value)):
        assert bounded is not None
        assert abs(bounded) < 2**63
    assert abs((moment(value) or 0) + (length(value) or 0)) < 2**63


def test_what_is_no_matter_of_the_store_is_left_as_it_is() -> None:
    assert translate(KeyError("bug")) is None
