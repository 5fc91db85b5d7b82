"""What a call costs before anything is kept."""

import asyncio
from pathlib import Path

import pytest

from benchmarks import floors
from benchmarks.places import places


def test_inserts_by_way_of_a_thread_are_compared_with_those_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "SECONDS", 0.2)
    assert 0 < asyncio.run(floors.by_a_thread(tmp_path / "floor.db")) < 1000


def test_a_pause_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "SAMPLES", 5)
    assert floors.after_a_pause() > 0
    assert 0 < asyncio.run(floors.woken()) < 1000
    assert 0 < asyncio.run(floors.woken(encoded=True)) < 1000


def test_round_trips_between_processes_are_measured(tmp_path: Path) -> None:
    with places(["redis", "postgres"], tmp_path) as found:
        for way, (store, _, _) in floors.WAYS.items():
            url = asyncio.run(found[store].probe.fresh("floor"))
            assert 0 < asyncio.run(floors.latency(way, url, 5)) < 1000, way
