"""Counts the round trips of a docket."""

from collections import Counter

from docket_core.backend.clock import SystemClock
from docket_core.backend.watch import TELEMETRY, Watch, Watcher


class _Counting(Watcher):
    def __init__(self, docket: str, calls: Counter[str]) -> None:
        super().__init__(docket, TELEMETRY, instrumented=False)
        self._calls = calls

    def __call__(self, operation: str, size: int | None = None) -> Watch:
        self._calls[operation] += 1
        return super().__call__(operation, size)


class CountingClock(SystemClock):
    """The system's clock, given to a docket for its side effect: it is told of every operation on the store."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def watcher(self, docket: str) -> Watcher:
        """What counts; `wait` is not counted."""
        return _Counting(docket, self.calls)
