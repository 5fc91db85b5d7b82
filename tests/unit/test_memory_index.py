"""The memory backend's ordered index, against a list that is sorted anew each time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket_memory.index import Index, Indexes

MEMBERS = st.sampled_from("abcdefgh")
FUNCTIONS = st.sampled_from(["f", "g", "h"])
SCORES = st.integers(0, 20)
STEPS = st.lists(st.tuples(st.sampled_from(["add", "add", "discard"]), FUNCTIONS, MEMBERS, SCORES), max_size=80)


@given(STEPS)
def test_an_index_is_a_sorted_list(steps: list[tuple[str, str, str, int]]) -> None:
    index = Index()
    model: dict[str, tuple[int, int, str]] = {}
    for tie, (step, _, member, score) in enumerate(steps):
        if step == "add":
            index.add(member, score, tie)
            model[member] = (score, tie, member)
        else:
            index.discard(member)
            model.pop(member, None)
        assert index.first() == min(model.values(), default=None)
        assert len(index) == len(model)
        assert (member in index) is (member in model)
        assert index.score(member) == (model[member][0] if member in model else None)
        assert index.before(10) == sum(entry[0] < 10 for entry in model.values())
        assert sorted(index) == sorted(model.values())


@given(STEPS, st.none() | st.frozensets(st.sampled_from(["f", "g", "h", "foreign"])), SCORES)
def test_due_members_come_oldest_first_over_all_functions(
    steps: list[tuple[str, str, str, int]], functions: frozenset[str] | None, now: int
) -> None:
    indexes = Indexes()
    model: dict[tuple[str, str], tuple[int, int, str]] = {}
    for tie, (step, function, member, score) in enumerate(steps):
        if step == "add":
            indexes.add(function, f"{function}{member}", score, tie)
            model[function, member] = (score, tie, f"{function}{member}")
        else:
            indexes.discard(function, f"{function}{member}")
            model.pop((function, member), None)
    asked = {place: entry for place, entry in model.items() if functions is None or place[0] in functions}
    assert indexes.earliest(functions) == min((entry[0] for entry in asked.values()), default=None)
    taken: list[str] = []
    for member in indexes.due(functions, now):
        indexes.discard(member[0], member)
        taken.append(member)
    assert taken == [entry[2] for entry in sorted(asked.values()) if entry[0] <= now]
    left = {place: entry for place, entry in model.items() if entry[2] not in taken}
    assert {name for name, _ in indexes.among(None)} == {function for function, _ in left}


def test_whoever_stops_takes_nothing() -> None:
    indexes = Indexes()
    for member in "abc":
        indexes.add("f", member, 1)
    assert next(indexes.due(None, 5)) == "a"
    assert next(indexes.due(None, 5)) == "a"


def test_an_empty_index_is_not_kept() -> None:
    indexes = Indexes()
    indexes.add("f", "a", 1)
    assert indexes.of("f") is not None
    indexes.discard("f", "a")
    assert indexes.of("f") is None
    indexes.discard("f", "a")


@pytest.mark.parametrize("members", [1, 100])
def test_what_moves_about_all_the_time_leaves_nothing_behind(members: int) -> None:
    index = Index()
    for score in range(20_000):
        index.add(str(score % members), score)
    assert len(index) == members
    assert index.footprint() <= 64 + 3 * members
    for member in range(members):
        index.discard(str(member))
    assert index.footprint() == 0
