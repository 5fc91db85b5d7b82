"""Who is in a body, and how many at a time."""

import asyncio
from collections import defaultdict


class Presence:
    """Who is in a body now, and how many there ever were at a time."""

    def __init__(self) -> None:
        self.inside: defaultdict[str, int] = defaultdict(int)
        self.most: defaultdict[str, int] = defaultdict(int)
        self.order: list[str] = []

    async def visit(self, group: str, name: str) -> None:
        """Be inside for a few turns of the loop."""
        self.inside[group] += 1
        self.most[group] = max(self.most[group], self.inside[group])
        self.order.append(name)
        for _ in range(5):
            await asyncio.sleep(0)
        self.inside[group] -= 1
