"""One run from its beginning to its results, with its progress on a terminal."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from docket_core.bench.contestants import Contestant
from docket_core.bench.results import Results, start
from docket_core.bench.rounds import measure, steps
from docket_core.bench.scale import QUICK, Scale, Scenario
from docket_core.bench.scenarios import SCENARIOS
from docket_core.errors import ConfigurationError

ROUNDS = 5


def chosen(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names; all of them for none.

    Raises:
        ConfigurationError: there is none of that name.
    """
    for name in names:
        if name not in SCENARIOS:
            raise ConfigurationError(f"there is no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    return [scenario for name, scenario in SCENARIOS.items() if not names or name in names]


def take(
    contestants: Sequence[Contestant],
    scenarios: Sequence[Scenario],
    *,
    rounds: int | None = None,
    quick: bool = False,
    soak: int | None = None,
    depth: int | None = None,
    out: Console | None = None,
) -> Results:
    """Measure it all.

    Args:
        rounds: None is one for a quick run, else `ROUNDS`.
        quick: everything small, for a look.
        soak: over how many tasks a worker's memory is looked at.
        depth: how many tasks wait where the time of a claim is taken.
        out: where progress is shown, if it is a terminal.
    """
    scale: Scale = QUICK if quick else Scale()
    scale = replace(scale, soak=soak or scale.soak, depth=depth or scale.depth)
    rounds = rounds or (1 if quick else ROUNDS)
    results = start(contestants, {"rounds": rounds, "quick": quick, "soak": scale.soak, "depth": scale.depth})
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
        disable=out is None or not out.is_terminal,
    )
    with bars:
        bar = bars.add_task("", total=steps(contestants, scenarios, rounds), completed=-1)

        def note(what: str) -> None:
            bars.update(bar, description=what, advance=1)

        asyncio.run(measure(contestants, scenarios, rounds, scale, note, results))
    return results
