"""What comparisons and targets say, on figures made up for it."""

from pathlib import Path

import pytest

from benchmarks.page import render, write
from benchmarks.targets import TARGETS, Against, judge
from docket_core.bench.compare import Judgement, compare
from docket_core.bench.metrics import BY_KEY
from docket_core.bench.results import Results, read
from docket_core.errors import ConfigurationError


def results(*figures: tuple[str, str, list[float]], kinds: dict[str, str] | None = None) -> Results:
    """Figures as (contestant, metric, rounds); all are of the store `redis`."""
    made = Results(machine={"cpu": "abacus", "cores": 2}, date="2030-01-01T00:00:00+00:00")
    for name, metric, values in figures:
        kind = (kinds or {}).get(name, "ours")
        made.contestants.setdefault(name, {"store": "redis", "kind": kind, "versions": {}})
        for value in values:
            made.add(name, {metric: value})
    return made


@pytest.mark.parametrize(
    ("metric", "before", "after", "judgement"),
    [
        ("add", [100, 105, 110], [200, 210, 220], Judgement.BETTER),
        ("add", [200, 210, 220], [100, 105, 110], Judgement.WORSE),
        ("latency-p50", [2.0, 2.1], [1.0, 1.1], Judgement.BETTER),
        ("latency-p50", [1.0, 1.1], [2.0, 2.1], Judgement.WORSE),
        ("add", [100, 101, 102], [105, 106, 107], Judgement.NOISE),
        ("add", [100, 105, 220], [200, 210, 220], Judgement.NOISE),
        ("idle-cpu", [0.0], [0.0], Judgement.NOISE),
    ],
    ids=["more", "less", "sooner", "later", "under a tenth", "rounds overlap", "nothing"],
)
def test_a_change_is_told_from_noise(
    metric: str, before: list[float], after: list[float], judgement: Judgement
) -> None:
    (row,) = compare(results(("a", metric, before)), results(("a", metric, after)))
    assert row.judgement is judgement


def test_the_bound_for_noise_can_be_set() -> None:
    before, after = results(("a", "add", [100])), results(("a", "add", [130]))
    assert [compare(before, after, noise)[0].judgement for noise in (0.1, 0.5)] == [Judgement.BETTER, Judgement.NOISE]


def test_only_what_both_have_is_compared() -> None:
    before = results(("a", "add", [1]), ("b", "add", [1]))
    after = results(("a", "add", [1]), ("a", "drain-10", [1]), ("c", "add", [1]))
    assert [(row.contestant, row.metric.key) for row in compare(before, after)] == [("a", "add")]


PEERS = {"ours": "ours", "slow": "peer", "fast": "peer", "limit": "limit"}
SOME = results(
    ("ours", "drain-100", [5000, 5100, 5200]),
    ("slow", "drain-100", [100]),
    ("fast", "drain-100", [900]),
    ("fast", "drain-10", [1000]),
    ("ours", "add", [500]),
    ("limit", "add", [1000]),
    ("ours", "latency-p50", [2.0]),
    ("slow", "latency-p50", [9.0]),
    ("fast", "latency-p50", [1.0]),
    ("ours", "lateness-p99", [4.0]),
    kinds=PEERS,
)


def test_the_best_of_the_other_side_counts() -> None:
    by_metric = {verdict.target.metric: verdict for verdict in judge(SOME)}
    drain, latency, add = by_metric["drain-100"], by_metric["latency-p50"], by_metric["add"]
    assert (drain.other, drain.other_value, drain.value, drain.met) == ("fast", 1000, 5.1, True)
    assert (latency.other, latency.value, latency.met) == ("fast", 2.0, False)
    assert (add.other, add.value, add.met) == ("limit", 0.5, False)
    assert (by_metric["lateness-p99"].other, by_metric["lateness-p99"].met) == ("", True)


def test_the_worst_comes_first() -> None:
    margins = [verdict.margin for verdict in judge(SOME)]
    assert margins == sorted(margins)
    assert judge(SOME)[0].target.metric == "latency-p50"


def test_targets_are_of_metrics_that_there_are() -> None:
    for target in TARGETS:
        assert {target.metric, *target.of} <= set(BY_KEY)
        assert bool(target.of) is (target.against is not Against.NOTHING)


def test_the_page_marks_what_is_not_met_and_names_machine_and_command(tmp_path: Path) -> None:
    page = render(SOME)
    rows = [line for line in page.splitlines() if line.startswith(("| met", "| **not met**"))]
    assert [row.split("|")[1].strip() for row in rows] == ["**not met**", "**not met**", "met", "met"]
    assert "2 of 4 targets are met" in page
    assert "Measured on 2030-01-01: abacus, 2 cores" in page
    assert "python -m benchmarks" in page
    write(SOME, tmp_path)
    assert (tmp_path / "benchmarks.md").read_text() == page
    assert (tmp_path / "benchmarks.svg").read_text().startswith("<svg")


def test_results_survive_their_file(tmp_path: Path) -> None:
    SOME.fail("slow", "add", "it was slow")
    SOME.write(tmp_path / "some.json")
    again = read(tmp_path / "some.json")
    assert (again.values, again.contestants, again.failures) == (SOME.values, SOME.contestants, SOME.failures)
    assert "slow failed at add: it was slow" in render(again)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99}', "no json"])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"odd\.json"):
        read(tmp_path / "odd.json")


def test_what_is_measured_anew_takes_the_place_of_what_was_there() -> None:
    older = results(("a", "add", [1]), ("a", "drain-10", [1]))
    older.fail("a", "add", "once")
    older.fail("b", "add", "still")
    older.merge(results(("a", "add", [2, 3])))
    assert older.values == {("a", "add"): [2, 3], ("a", "drain-10"): [1]}
    assert [failure["why"] for failure in older.failures] == ["still"]
