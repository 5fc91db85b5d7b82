"""What is measured, by name; each scenario is a function over the public API, and its docstring says what it does."""

from docket_core.bench.cost import COST
from docket_core.bench.throughput import THROUGHPUT
from docket_core.bench.timing import TIMING

SCENARIOS = {scenario.name: scenario for scenario in (*THROUGHPUT, *TIMING, *COST)}
"""All of them, in the order in which they are run."""
