"""`docket bench --quick`, as anyone runs it, and what it leaves."""

import json
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from docket_core.bench.chart import CHARTED
from docket_core.bench.metrics import METRICS
from docket_core.bench.scenarios import SCENARIOS
from docket_core.cli.exit_codes import ExitCode
from tests.support.command import Said, run

pytestmark = pytest.mark.timeout(400)  # the run is half a minute alone, and much more beside three processes of tests
UNASKED = {"bytes", "idle-commands"}
"""What only somebody can tell who can ask the store itself."""
BETWEEN_PROCESSES = {"redelivery", "processes-1", "processes-2", "processes-4"}


class Ran(NamedTuple):
    """A quick run over two stores, and its files."""

    said: Said
    folder: Path

    @property
    def figures(self) -> dict[tuple[str, str], dict[str, Any]]:
        rows = json.loads((self.folder / "out.json").read_text())["figures"]
        return {(row["contestant"], row["metric"]): row for row in rows}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("bench")
    urls = ("memory://quick", f"sqlite:///{folder / 'quick.db'}")
    files = ("--output", "out.json", "--markdown", "out.md", "--svg", "out.svg")
    return Ran(run("bench", "--quick", *files, *urls, cwd=folder, timeout=300), folder)


def test_it_succeeds_and_shows_a_table(ran: Ran) -> None:
    assert ran.said.code == 0, ran.said.err
    assert "drain, concurrency 100" in ran.said.out
    assert "\x1b[" not in ran.said.out


def test_every_metric_has_a_figure_on_every_store_that_can_have_it(ran: Ran) -> None:
    expected = {("sqlite", metric.key) for metric in METRICS if metric.key not in UNASKED}
    expected |= {("memory", key) for _, key in expected if key not in BETWEEN_PROCESSES}
    assert set(ran.figures) == expected


def test_figures_are_plausible(ran: Ran) -> None:
    for (store, metric), row in ran.figures.items():
        assert row["low"] <= row["median"] <= row["high"], (store, metric)
        assert row["median"] > 0 or metric in {"idle-cpu", "memory-growth"}, (store, metric)
    for store in ("memory", "sqlite"):
        of = {metric: row["median"] for (name, metric), row in ran.figures.items() if name == store}
        assert of["latency-p50"] <= of["latency-p99"]
        assert of["lateness-p50"] <= of["lateness-p99"]
        if store == "memory":  # where it is far enough from a draw for one small round on a busy machine
            assert of["drain-10"] < of["bare-100"], "a worker is not faster than the store alone"
    assert 0.5 < ran.figures["sqlite", "redelivery"]["median"] < 20, "a lease of 2 s has to run out first"


def test_the_json_says_where_and_how_it_was_measured(ran: Ran) -> None:
    told = json.loads((ran.folder / "out.json").read_text())
    assert told["failures"] == []
    assert {"cpu", "cores", "system", "python", "docket-core"} <= set(told["machine"])
    assert told["settings"]["quick"] is True
    assert told["contestants"]["sqlite"]["kind"] == "ours"


def test_the_markdown_is_a_table(ran: Ran) -> None:
    lines = (ran.folder / "out.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in rows} == {4}
    assert rows[0].endswith("| memory | sqlite |")
    assert any(line.startswith("| add, one by one, tasks/s |") for line in rows)


def test_the_chart_has_a_bar_for_every_figure_it_shows(ran: Ran) -> None:
    root = ET.parse(ran.folder / "out.svg").getroot()
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == len([key for key in ran.figures if key[1] in CHARTED])
    width = float(root.attrib["width"])
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) <= width for bar in bars)
    assert "prefers-color-scheme: dark" in (ran.folder / "out.svg").read_text()


def test_nothing_of_it_is_left_in_the_store(ran: Ran) -> None:
    connection = sqlite3.connect(ran.folder / "quick.db")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counted = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
    connection.close()
    assert "docket_schema" in counted
    names_of_dockets = counted.pop("docket_dockets")
    assert names_of_dockets <= len(SCENARIOS)
    of_the_killed = counted.pop("docket_listeners")  # until somebody finds that they do not hear
    assert of_the_killed <= 4
    assert {name: rows for name, rows in counted.items() if rows and name != "docket_schema"} == {}


def test_two_runs_are_compared(ran: Ran) -> None:
    said = run("bench", "--compare", "out.json", "out.json", "--json", cwd=ran.folder)
    assert said.code == 0, said.err
    assert len(said.json) == len(ran.figures)
    assert {row["judgement"] for row in said.json} == {"noise"}
    assert "noise" in run("bench", "--compare", "out.json", "out.json", cwd=ran.folder).out


Bench = Callable[..., Said]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return lambda *arguments: run("bench", *arguments, cwd=tmp_path)


def test_help_has_an_example(bench: Bench) -> None:
    assert "Example: docket bench --quick" in bench("--help").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("memory://x", "--scenario", "nonsense"), "there are: add, "),
        (("nonsense://x",), "no installed backend serves"),
        (("--compare", "none.json", "none.json"), "cannot be read"),
    ],
)
def test_what_cannot_work_is_refused_with_why(bench: Bench, arguments: tuple[str, ...], words: str) -> None:
    said = bench(*arguments)
    assert said.code == ExitCode.USAGE
    assert words in said.err


def test_a_store_that_cannot_be_reached_fails_and_the_others_go_on(bench: Bench) -> None:
    said = bench("--quick", "--scenario", "add", "--json", "sqlite:////nowhere/at/all.db", "memory://here")
    assert said.code == ExitCode.NO
    assert [row["contestant"] for row in said.json["figures"]] == ["memory"]
    assert [(row["contestant"], row["scenario"]) for row in said.json["failures"]] == [("sqlite", "add")]
    assert "sqlite failed at add" in said.err


def test_no_other_command_waits_for_what_only_this_one_needs(tmp_path: Path) -> None:
    script = "import sys, docket_core.cli.app; print([name for name in sys.modules if 'docket_core.bench' in name])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
