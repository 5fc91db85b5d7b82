"""Running it all: rounds are interleaved over the contestants, so that what disturbs one disturbs all."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from docket_core.bench.contestants import Contestant, Failed, Lacking, fresh
from docket_core.bench.results import Results
from docket_core.bench.scale import Scale, Scenario

_FIRST_SIZE = 200
_TELLING = 0.3
"""A trial of so many seconds says how many tasks a round needs."""
_MOST = 200_000

Note = Callable[[str], None]


def takes_part(contestant: Contestant, scenario: Scenario) -> bool:
    """Whether the scenario can be asked of the contestant."""
    if scenario.needs_processes and not contestant.processes:
        return False
    return contestant.scenarios is None or scenario.name in contestant.scenarios


def steps(contestants: Sequence[Contestant], scenarios: Sequence[Scenario], rounds: int) -> int:
    """How often something is run, trials not counted."""
    return sum(
        1 if scenario.once else rounds
        for scenario in scenarios
        for contestant in contestants
        if takes_part(contestant, scenario)
    )


async def measure(
    contestants: Sequence[Contestant],
    scenarios: Sequence[Scenario],
    rounds: int,
    scale: Scale,
    note: Note,
    results: Results,
) -> None:
    """Run every scenario on every contestant: scenario by scenario, A B C A B C.

    Args:
        note: called before each step with what it is.
        results: gets the figures, and what went wrong, as it comes.
    """
    for scenario in scenarios:
        able = [contestant for contestant in contestants if takes_part(contestant, scenario)]
        sizes: dict[str, Scale] = {}
        for round_number in range(1 if scenario.once else rounds):
            for contestant in list(able):
                note(f"{scenario.name}, {contestant.name}, round {round_number + 1}")
                try:
                    if contestant.name not in sizes:
                        sizes[contestant.name] = await _sized(contestant, scenario, scale)
                    async with fresh(contestant) as field:
                        results.add(contestant.name, await scenario.run(field, sizes[contestant.name]))
                except Lacking:
                    able.remove(contestant)
                except (Failed, TimeoutError) as error:
                    able.remove(contestant)
                    results.fail(contestant.name, scenario.name, str(error))


async def _sized(contestant: Contestant, scenario: Scenario, scale: Scale) -> Scale:
    """The scale with so many tasks that a round takes as long as it should: by trials of more and more."""
    if not scenario.sized or not scale.drain_seconds:
        return scale
    count, (metric,) = _FIRST_SIZE, scenario.metrics
    while True:
        async with fresh(contestant) as field:
            rate = (await scenario.run(field, replace(scale, count=count)))[metric]
        if count / rate >= _TELLING or count >= _MOST:
            return replace(scale, count=max(_FIRST_SIZE, min(_MOST, round(rate * scale.drain_seconds))))
        count *= 10
