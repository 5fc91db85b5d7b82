"""Running it all: each round goes over all scenarios and in each over all contestants.

What disturbs one contestant disturbs its neighbours too, and what lasts for minutes is in one round of each scenario,
not in all rounds of one. What is run once comes at the end, as it leaves the most behind.
"""

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
    """Run every scenario on every contestant, A B C of the first, A B C of the second, and all of it again.

    Args:
        note: called before each step with what it is.
        results: gets the figures, and what went wrong, as it comes.
    """
    able = {scenario.name: [one for one in contestants if takes_part(one, scenario)] for scenario in scenarios}
    sizes: dict[tuple[str, str], Scale] = {}
    repeated = [(number, scenario) for number in range(rounds) for scenario in scenarios if not scenario.once]
    for number, scenario in [*repeated, *((0, scenario) for scenario in scenarios if scenario.once)]:
        for contestant in list(able[scenario.name]):
            note(f"{scenario.name}, {contestant.name}, round {number + 1}")
            sized = (scenario.name, contestant.name)
            try:
                if sized not in sizes:
                    sizes[sized] = await _sized(contestant, scenario, scale)
                async with fresh(contestant) as field:
                    results.add(contestant.name, await scenario.run(field, sizes[sized]))
            except Lacking:
                able[scenario.name].remove(contestant)
            except (Failed, TimeoutError) as error:
                able[scenario.name].remove(contestant)
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
