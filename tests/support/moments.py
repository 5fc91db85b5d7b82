"""What happened when, by the clock of a docket."""

from datetime import timedelta

from docket_core import Docket
from docket_core.backend.clock import SECOND, Clock, Micros
from docket_core.backend.kit import sleep

MINUTE = timedelta(minutes=1)
SETTLE = {"postgres": 0.06, "redis": 0.06}
"""Real seconds for which all must be idle before a moving clock moves: news from a server is on its way for a while."""


async def passed(clock: Clock, seconds: float) -> None:
    """Let so much of a moving clock's time pass, and all that was due by then come to rest."""
    await sleep(clock, int(seconds * SECOND))
    await sleep(clock, 1)


class Log:
    """Notes with the seconds since the log was begun."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._begun: Micros = docket.clock.now()
        self.notes: list[tuple[float, str]] = []

    def note(self, text: str) -> None:
        self.notes.append((self.seconds, text))

    @property
    def seconds(self) -> float:
        """How long it has been, to the millisecond."""
        return round((self._docket.clock.now() - self._begun) / 1_000_000, 3)

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.notes]
