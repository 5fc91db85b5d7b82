"""The full comparison: docket-core on all stores, peers and the stores' own limits, interleaved in one run.

python -m benchmarks                                measure, write docs/benchmarks.json, .md and .svg
python -m benchmarks --render                       write the page anew from docs/benchmarks.json
python -m benchmarks --merge --scenarios add        measure one scenario anew, leave the rest as it is
python -m benchmarks --stores redis --peers pydocket,dramatiq --scenarios drain-10,drain-100 --no-page
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks import environments, page
from benchmarks.field import ROOT, contestants
from benchmarks.peers.known import PEERS
from benchmarks.places import STORES, places
from docket_core.bench.results import read
from docket_core.bench.run import chosen, take
from docket_core.bench.tables import failures, for_terminal

DOCS = ROOT / "docs"


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _end(number: int, _: object) -> None:
    """Leave in order, so that the servers end as well."""
    sys.exit(128 + number)


def main() -> None:
    """Measure, and render."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=_Raw)
    known = sorted({peer.environment for peer in PEERS})
    parser.add_argument("--stores", type=_words, default=list(STORES), metavar="A,B", help=f"of {', '.join(STORES)}")
    parser.add_argument("--peers", type=_words, default=known, metavar="A,B", help=f"of {', '.join(known)}; or ''")
    parser.add_argument("--scenarios", type=_words, default=[], metavar="A,B", help="default: all of them")
    parser.add_argument("--rounds", type=int, help="interleaved rounds; default: 5")
    parser.add_argument("--soak", type=int, help="tasks over which a worker's memory is looked at")
    parser.add_argument("--depth", type=int, help="tasks that wait where the time of a claim is taken")
    parser.add_argument("--quick", action="store_true", help="one small round")
    parser.add_argument("--no-limits", action="store_true", help="without the stores' own limits")
    parser.add_argument("--output", type=Path, default=DOCS / "benchmarks.json", help="the figures, as JSON")
    parser.add_argument("--environments", type=Path, default=environments.DEFAULT, help="where peers are installed")
    parser.add_argument("--merge", action="store_true", help="keep what is in --output and is not measured anew")
    parser.add_argument("--no-page", action="store_true", help="show a table instead of writing the page")
    parser.add_argument("--render", action="store_true", help="measure nothing: write the page from --output")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    if not options.render:
        _measure(options)
    results = read(options.output)
    if options.no_page or options.quick:
        for store in STORES:
            names = [name for name, about in results.contestants.items() if about["store"] == store]
            if names:
                Console(width=180).print(for_terminal(results, names))
        print(*failures(results), sep="\n")
    else:
        page.write(results, DOCS)


def _measure(options: argparse.Namespace) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="docket-benchmarks-") as folder,
        places(options.stores, Path(folder)) as found,
    ):
        field = contestants(found, options.peers, options.environments, with_limits=not options.no_limits)
        results = take(
            field,
            chosen(options.scenarios),
            rounds=options.rounds,
            quick=options.quick,
            soak=options.soak,
            depth=options.depth,
            out=Console(stderr=True),
        )
        results.settings["stores"] = {store: place.version for store, place in found.items()}
    if options.merge and options.output.exists():
        older = read(options.output)
        older.settings["stores"] |= results.settings.pop("stores")
        older.merge(results)
        results = older
    results.write(options.output)


class _Raw(argparse.RawDescriptionHelpFormatter):
    """The examples as they stand."""


if __name__ == "__main__":
    main()
