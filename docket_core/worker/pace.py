"""How far ahead of its free slots a worker claims: a moment's work, by what it has lately got done."""

import time

MOMENT = 0.02
"""Seconds that a task claimed ahead is meant to wait at most: a few round trips to a store."""
PATIENCE = 0.05
"""Seconds after which it is given back, so that another worker can have it."""
IN_HAND = 200
"""How many tasks a worker has in hand at most, running and claimed ahead: two claims' worth, so that one is worked off
while the next is under way. With many slots it is half as many ahead at least."""


class Pace:
    """Counts ends, and says how many tasks a worker with full slots will have room for within a moment.

    Short tasks are claimed in batches this way, whatever the concurrency is; of long ones none is claimed ahead.

    Args:
        slots: how many tasks run at a time.
    """

    def __init__(self, slots: int) -> None:
        self._most = max(IN_HAND - slots, IN_HAND // 2)
        self._ended = 0
        self._since = time.monotonic()
        self._ahead = 0

    def ended(self) -> None:
        """A run has ended."""
        self._ended += 1

    def ahead(self) -> int:
        """How many tasks to have in hand beyond the free slots."""
        now = time.monotonic()
        passed = now - self._since
        if passed >= MOMENT / 2:
            self._ahead = min(self._most, int(self._ended * MOMENT / passed))
            self._ended = 0
            self._since = now
        return self._ahead

    def stalled(self) -> None:
        """What was claimed ahead had to be given back: begin again with none."""
        self._ahead = self._ended = 0
        self._since = time.monotonic()
