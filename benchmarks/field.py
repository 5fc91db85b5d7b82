"""Everybody who takes part in the full comparison, as contestants."""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from benchmarks import limits
from benchmarks.environments import ensure, versions
from benchmarks.peers.known import PEERS, Peer
from benchmarks.places import Place
from docket_core.bench.contestants import Contestant
from docket_core.bench.stores import ours

ROOT = Path(__file__).resolve().parent.parent
OURS = "docket-core"


def contestants(
    places: Mapping[str, Place], peers: Collection[str], environments: Path, *, with_limits: bool
) -> list[Contestant]:
    """docket-core on each store, the peers that are named (by their module's or their own names), and the limits."""
    return list(_all(places, peers, environments, with_limits))


def _all(
    places: Mapping[str, Place], peers: Collection[str], environments: Path, with_limits: bool
) -> Iterator[Contestant]:
    for store, place in places.items():
        yield ours(place.url, f"{OURS} {store}", place.probe, store)
        for peer in PEERS:
            if peer.store == store and (peer.environment in peers or peer.name in peers):
                yield _peer(peer, place, environments)
        if with_limits:
            command = (sys.executable, "-m", "benchmarks.limits", store)
            taking_part = limits.SCENARIOS
            yield Contestant(
                f"limit {store}",
                store,
                place.url,
                command,
                "limit",
                probe=place.probe,
                scenarios=taking_part,
                folder=str(ROOT),
            )


def _peer(peer: Peer, place: Place, environments: Path) -> Contestant:
    python = ensure(environments / peer.environment, peer.requirements)
    return Contestant(
        peer.name,
        peer.store,
        place.url,
        (str(python), "-m", "benchmarks.peers.start", peer.module),
        "peer",
        peer.processes,
        place.probe,
        frozenset(peer.scenarios),
        peer.settings,
        versions(python, peer.requirements),
        folder=str(ROOT),
    )
