"""Which files the demo does, and how it counts."""

import hashlib
import os
from pathlib import Path

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.records import Last, Record
from docket_core.backend.states import State
from docket_core.cli.demo.evidence import CHECKS, Evidence, is_struck, redelivered, run_times, totals
from docket_core.cli.demo.files import FEWEST, FileSum, checksum, plan_for, sum_of
from docket_core.errors import ConfigurationError


def fill(folder: Path, **numbers: int) -> None:
    for suffix, number in numbers.items():
        for index in range(number):
            (folder / f"{index}.{suffix}").write_text(f"{suffix} {index}\n")


def ended(run: str, worker: str = "w", delivery: int = 1, start: int = 0, end: int = 1, **more: object) -> Record:
    last = Last(State.COMPLETED, "checksum", b"", b"", run, 1, 1, delivery, 0, worker, start, end, end)
    return Record(run, None, last._replace(**more))  # type: ignore[arg-type]


def test_the_second_most_frequent_kind_is_struck(tmp_path: Path) -> None:
    fill(tmp_path, py=20, TXT=9, md=3)
    plan = plan_for(tmp_path)
    assert len(plan.files) == 32
    assert plan.struck_kind == ".txt"
    assert len(plan.strikable) == 9
    assert len({file.key for file in plan.files}) == 32


def test_an_only_kind_is_struck_itself(tmp_path: Path) -> None:
    fill(tmp_path, py=FEWEST)
    assert plan_for(tmp_path).struck_kind == ".py"


def test_only_real_files_of_the_folder_itself_are_done(tmp_path: Path) -> None:
    fill(tmp_path, py=FEWEST)
    (tmp_path / "__pycache__").mkdir()
    fill(tmp_path / "__pycache__", pyc=3)
    (tmp_path / "link").symlink_to(tmp_path / "0.py")
    os.mkfifo(tmp_path / "pipe")
    assert len(plan_for(tmp_path).files) == FEWEST


def test_too_few_files_and_no_folder_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, py=FEWEST - 1)
    with pytest.raises(ConfigurationError, match=str(FEWEST)):
        plan_for(tmp_path)
    with pytest.raises(ConfigurationError, match="nowhere"):
        plan_for(tmp_path / "nowhere")


def test_the_default_is_the_standard_library() -> None:
    assert any(file.path.endswith("asyncio/tasks.py") for file in plan_for(None).files)


def test_a_file_is_summed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\nthree")
    expected = FileSum(hashlib.sha256(b"one\ntwo\nthree").hexdigest(), 13, 2)
    assert sum_of(str(path)) == checksum(str(path), "", 0.0) == expected


def test_totals_do_not_depend_on_the_order() -> None:
    one, two = FileSum("a", 1, 2), FileSum("b", 10, 20)
    assert totals({"x": one, "y": two}) == totals({"y": two, "x": one})
    assert totals({"x": one, "y": two})[:3] == (2, 11, 22)
    assert totals({"x": one, "y": two}) != totals({"x": two, "y": one})


def test_redelivered_runs_are_counted_by_who_ended_them() -> None:
    records = [ended("a"), ended("b", "w2", 2), ended("c", "w3", 3), ended("d", "w2", 2), Record("e")]
    assert redelivered(records) == {"w2": 2, "w3": 1}


def test_the_best_second_is_the_densest_one() -> None:
    ends = [0.1, 0.2, 3.0, 3.3, 3.9, 3.95, 4.05]
    records = [ended(str(end), start=SECOND // 20, end=int(end * SECOND)) for end in ends]
    seconds, best = run_times(records)
    assert seconds == pytest.approx(4.0)
    assert best == 4
    assert run_times([]) == (0.0, 0)


def test_only_a_strike_counts_as_a_strike() -> None:
    by_strike = ended("a", state=State.CANCELLED, reason="struck").last
    by_hand = ended("b", state=State.CANCELLED, reason="cancelled").last
    assert is_struck(by_strike)
    assert not is_struck(by_hand)
    assert not is_struck(ended("c").last)
    assert not is_struck(None)


def evidence(results: dict[str, FileSum]) -> Evidence:
    expected = {"x": FileSum("a", 1, 2), "y": FileSum("b", 10, 20)}
    return Evidence(results, expected, 0.1, 2.0, 1, 3, {"w": 1}, 1, True)


def test_all_is_right_only_with_every_result() -> None:
    whole = evidence({"x": FileSum("a", 1, 2), "y": FileSum("b", 10, 20)})
    assert whole.right
    assert whole.rate == 1.0
    assert set(whole.checks) == set(CHECKS)
    lossy = evidence({"x": FileSum("a", 1, 2)})
    assert lossy.lost == 1
    assert not lossy.right
    wrong = evidence({"x": FileSum("a", 1, 2), "y": FileSum("other", 10, 20)})
    assert (wrong.lost, wrong.wrong) == (0, 1)
    assert not wrong.right
    assert not whole._replace(struck=0).right
    assert not whole._replace(redelivered={}).right
    assert not whole._replace(good_order=False).right
