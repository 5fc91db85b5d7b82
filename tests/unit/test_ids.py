"""Identifiers: of the right version, in the order of their making."""

import time
from uuid import UUID

import pytest

from docket_core.ids import uuid7


def test_it_is_a_uuid_of_version_7_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    text = uuid7()
    made = UUID(text)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
    assert str(made) == text


def test_they_differ_and_sort_as_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(1_700_000_000_999_999_000, 1_700_000_001_000_001_000, 250))  # over the end of a second
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [uuid7() for _ in range(8)]
    assert made == sorted(set(made))
    moments = iter([1_700_000_000_000_000_000] * 1000)
    assert len({uuid7() for _ in range(1000)}) == 1000
