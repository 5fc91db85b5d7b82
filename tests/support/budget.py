"""A time budget for each folder of tests: shown at the end of every run, an error only far above it."""

from collections import defaultdict

import pytest

BUDGETS = {
    "unit": 180.0,
    "conformance": 540.0,
    "behaviour": 1200.0,
    "cli": 180.0,
    "contrib": 180.0,
    "faults": 600.0,
    "packaging": 180.0,
    "docs": 180.0,
    "benchmarks": 300.0,
}
"""Seconds for all tests of the folder together, waiting included, while five processes share two cores."""
FAR_ABOVE = 4.0
"""So many times its budget fails the run: shared machines are slow at times, but not that slow."""


def folder_of(node: str) -> str:
    """The folder below tests/ that a test belongs to; an empty text for one outside."""
    parts = node.split("::", maxsplit=1)[0].split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "tests" else ""


class Budgets:
    """Adds up what the tests of each folder took, with their set-up and tear-down."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    def far_above(self) -> list[str]:
        """The folders that went so far over their budgets that something must be wrong."""
        return [folder for folder in BUDGETS if self.spent.get(folder, 0.0) > FAR_ABOVE * BUDGETS[folder]]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.spent[folder_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.exitstatus == pytest.ExitCode.OK and self.far_above():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.spent:
            terminalreporter.section("time per folder, and its budget")
        for folder, seconds in sorted(self.spent.items()):
            budget = BUDGETS.get(folder)
            if budget is None:
                terminalreporter.line(f"{folder or '(elsewhere)':<14}{seconds:7.1f} s   no budget")
                continue
            note = "   OVER" if seconds > budget else ""
            if folder in self.far_above():
                note = "   FAR OVER: this fails the run"
            terminalreporter.line(f"{folder:<14}{seconds:7.1f} s  of {budget:4.0f} s{note}", yellow=bool(note))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Budgets(), "docket-time-budgets")
