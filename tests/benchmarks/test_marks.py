"""What the benchmark writes down is not what it measures."""

from pathlib import Path

from docket_core.bench.agent import Agent, Subject
from docket_core.bench.marks import Marks


async def test_a_process_memory_is_told_without_the_marks(tmp_path: Path) -> None:
    """They are eight bytes for each task, as much as a leak would be."""
    count = 1_000_000
    with Marks(tmp_path / "marks", count) as marks:
        agent = Agent(Subject())
        agent.marks = marks
        before = (await agent.usage())["memory"]
        for number in range(count):
            marks.times[number] = number + 1.0
        after = (await agent.usage())["memory"]
        assert after - before < count
        assert marks.times[count - 1] == count
