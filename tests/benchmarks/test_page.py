"""The page of figures is what the figures say."""

from pathlib import Path

from benchmarks.page import BRIEFLY, chart, render
from docket_core.bench.results import read

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_and_its_chart_are_those_of_the_figures() -> None:
    results = read(DOCS / "benchmarks.json")
    again = "run: python -m benchmarks --render"
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == render(results), again
    assert (DOCS / "benchmarks.svg").read_text(encoding="utf-8") == chart(results), again
    assert (DOCS / "drain.svg").read_text(encoding="utf-8") == chart(results, BRIEFLY), again


def test_the_page_says_what_measures_the_same_again() -> None:
    results = read(DOCS / "benchmarks.json")
    results.settings |= {"rounds": 4, "soak": 20, "depth": 300}
    assert "\npython -m benchmarks --rounds 4 --soak 20 --depth 300\n" in render(results)
