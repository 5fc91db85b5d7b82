"""Those who take part: servers that tell of themselves, the stores' limits, and what peers load."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.field import contestants
from benchmarks.peers.known import PEERS
from benchmarks.places import STORES, Place, places
from docket_core.bench.contestants import Contestant, Failed, fresh
from docket_core.bench.results import Results, start
from docket_core.bench.rounds import measure
from docket_core.bench.scale import QUICK
from docket_core.bench.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    with places(STORES, tmp_path_factory.mktemp("places")) as made:
        yield made


async def taken(field: list[Contestant], *names: str) -> Results:
    results = start(field, {})
    await measure(field, [SCENARIOS[name] for name in names], 1, QUICK, lambda _: None, results)
    return results


async def test_every_store_and_its_limit_take_part(found: dict[str, Place], tmp_path: Path) -> None:
    field = contestants(found, [], tmp_path, with_limits=True)
    limits = [contestant for contestant in field if contestant.kind == "limit"]
    results = await taken(field, "add")
    await measure(limits, [SCENARIOS["bare-100"]], 1, QUICK, lambda _: None, results)
    assert results.failures == []
    expected = {(f"{side} {store}", "add") for side in ("docket-core", "limit") for store in STORES}
    assert set(results.values) == expected | {(f"limit {store}", "bare-100") for store in STORES}


async def test_servers_tell_the_size_of_a_task_and_the_commands_of_an_idle_worker(
    found: dict[str, Place], tmp_path: Path
) -> None:
    servers = {store: found[store] for store in ("redis", "postgres")}
    results = await taken(contestants(servers, [], tmp_path, with_limits=False), "bytes", "idle")
    assert results.failures == []
    for name in results.contestants:
        size, commands = results.figure(name, "bytes"), results.figure(name, "idle-commands")
        assert size is not None, name
        assert 40 < size.median < 2000, name
        assert commands is not None, name
        assert commands.median < 50, name


def test_what_peers_load_of_docket_core_needs_the_standard_library_only() -> None:
    script = (
        "import sys, importlib, benchmarks.peers.start as start; sys.argv = ['start', 'known'];"
        "importlib.import_module('benchmarks.peers.known').SUBJECT = type('S', (), {}); start.main()"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=ROOT, input="", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_peer_has_its_file_and_scenarios_that_there_are() -> None:
    for peer in PEERS:
        assert (ROOT / "benchmarks" / "peers" / f"{peer.module}.py").exists()
        assert set(peer.scenarios) <= set(SCENARIOS)
        assert peer.store in STORES
    assert len({peer.name for peer in PEERS}) == len(PEERS)


async def test_each_round_goes_over_all_scenarios_and_what_is_run_once_comes_last() -> None:
    field = [Contestant(name, "memory", "memory://x", processes=False) for name in "AB"]
    noted: list[str] = []
    scenarios = [SCENARIOS[name] for name in ("depth", "add", "add-many")]
    await measure(field, scenarios, 2, QUICK, noted.append, start(field, {}))
    repeated = [
        f"{scenario}, {name}, round {number}" for number in (1, 2) for scenario in ("add", "add-many") for name in "AB"
    ]
    assert noted == [*repeated, "depth, A, round 1", "depth, B, round 1"]


async def test_a_contestant_that_ends_is_a_failure_with_its_last_words() -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('out of sorts')")
    broken = Contestant("broken", "memory", "memory://x", command)
    with pytest.raises(Failed, match="out of sorts"):
        async with fresh(broken) as field:
            await field.producer()
    results = await taken([broken], "add")
    assert [(row["contestant"], row["scenario"]) for row in results.failures] == [("broken", "add")]


async def test_no_process_outlives_its_field() -> None:
    contestant = Contestant("ours", "memory", "memory://x", processes=False)
    async with fresh(contestant) as field:
        agent = await field.producer()
        assert (await agent("usage"))["memory"] > 0
    with pytest.raises(ProcessLookupError):
        os.kill(agent.pid, 0)
