"""The test command itself: time budgets, and the reminder of failed checks before pytest's last line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.__main__ import BESIDE, FIRST, ROOT
from tests.support.budget import BUDGETS, FAR_ABOVE, Budgets, folder_of

BARE = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Pytest without the plugins that are installed: it starts in a fraction of the time."""


@pytest.mark.parametrize(
    ("node", "folder"),
    [
        ("tests/unit/test_url.py::test_x[a/b]", "unit"),
        ("tests/conformance/deep/test_a.py::TestB::test_c", "conformance"),
        ("tests/test_top.py::test_x", ""),
        ("docket_core/conformance/test_ack.py::test_x", ""),
    ],
)
def test_the_folder_a_test_belongs_to(node: str, folder: str) -> None:
    assert folder_of(node) == folder


def test_every_folder_of_tests_has_a_budget() -> None:
    folders = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("*/test_*.py")}
    assert folders <= set(BUDGETS)


@pytest.mark.parametrize(("factor", "fails"), [(0.9, False), (1.1, False), (FAR_ABOVE * 1.1, True)])
def test_only_far_above_its_budget_is_a_failure(factor: float, *, fails: bool) -> None:
    budgets = Budgets()
    budgets.spent["unit"] = BUDGETS["unit"] * factor
    budgets.spent["elsewhere"] = 1e9
    assert bool(budgets.far_above()) is fails


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Pytest in a folder of its own, with nothing of ours but the plugins that are named."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={folder}", "-c", "/dev/null"]
    return subprocess.run([*command, *options], cwd=folder, env=BARE, capture_output=True, text=True, check=False)


def test_far_above_fails_the_run_and_the_summary_stays_last(tmp_path: Path) -> None:
    tests = tmp_path / "tests" / "unit"
    tests.mkdir(parents=True)
    (tests / "test_slow.py").write_text("def test_slow(): pass\n")
    (tmp_path / "slow.py").write_text("from tests.support import budget\nbudget.BUDGETS['unit'] = 1e-9\n")
    done = run(tmp_path, "-p", "slow", "-p", "tests.support.budget", "tests")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAR OVER: this fails the run" in done.stdout
    assert "1 passed" in done.stdout.splitlines()[-1]


def test_what_became_of_the_checks_is_said_before_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    script = (
        "import pytest; from tests.__main__ import LEAST, Check, Checking, ChecksBeside; "
        "code = 'import os\\nwhile os.nice(0) < 19: pass\\nexit(\\'two errors\\')'; "
        "failing = Check('mypy', ['-c', code]); "
        "plugin = ChecksBeside(['ruff check'], [Checking(failing, LEAST), Checking(Check('quiet', ['-c', '']))]); "
        "pytest.main(['-c', '/dev/null', '-p', 'no:cacheprovider'], plugins=[plugin]); "
        "assert plugin.failed == ['ruff check', 'mypy']"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=BARE, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line]
    said = [" ".join(line.split()) for line in lines[-5:-1]]
    assert said == ["mypy FAILED", "two errors", "quiet ok", "failed: ruff check, mypy"]
    assert "1 passed" in lines[-1]


def test_every_tool_that_checks_is_run() -> None:
    names = {check.name for check in FIRST + BESIDE}
    assert names == {"ruff check", "ruff format", "mypy", "basedpyright", "lint-imports"}
