"""The demo's workers, whatever they are: started, stopped for a moment, killed, and ended in good order."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

ENDING = 10.0
"""How long workers may take to end once they were asked to, in seconds."""
TAIL = 20
"""How many lines of a worker's log are shown when something went wrong."""


class Settings(NamedTuple):
    """What all workers of the fleet have in common."""

    docket: str
    url: str
    concurrency: int
    redelivery_timeout: float


class Member(Protocol):
    """One worker of the fleet; it works from the moment it was made."""

    name: str
    killed: bool
    log: Path
    """What it, perhaps with others, has to say; the file may be missing."""
    how_killed: str
    """What `kill` does to it, in a few words before its name."""
    how_ended: str
    """What `ask_to_end` does, in a few words after `were`."""

    @property
    def place(self) -> str:
        """Where it runs."""
        ...

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it lives."""
        ...

    def pause(self) -> None:
        """Stop it where it is, so that what it holds can be looked at; returns once it stands still."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...

    def kill(self) -> None:
        """End it: it can say nothing and finish nothing from now on."""
        ...

    def ask_to_end(self) -> None:
        """Let it end in good order; a killed one may tidy up after itself, unseen by the store."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait for its end, so long at most."""
        ...


class Fleet:
    """All workers of one demo. Use it as a context manager: none outlives it."""

    def __init__(self, settings: Settings, logs: Path, make: Callable[[str, Settings, Path], Member]) -> None:
        self.settings = settings
        self.members: list[Member] = []
        self._logs = logs
        self._make = make

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> Member:
        """Start one more worker."""
        member = self._make(f"worker-{len(self.members) + 1}", self.settings, self._logs)
        self.members.append(member)
        return member

    @property
    def dead(self) -> list[Member]:
        """Those that have ended although nobody asked them to."""
        return [member for member in self.members if not member.killed and member.exit_code is not None]

    def end(self) -> bool:
        """End them; whether all ended in good order."""
        for member in self.members:
            member.ask_to_end()
        deadline = time.monotonic() + ENDING
        for member in self.members:
            member.wait(max(0.0, deadline - time.monotonic()))
        return all(member.killed or member.exit_code == 0 for member in self.members)

    def tails(self) -> dict[str, str]:
        """The ends of the logs that are not empty, by whose they are."""
        logs = {member.log: member.log.stem for member in self.members if member.log.exists()}
        tails = {whose: log.read_text(errors="replace").splitlines()[-TAIL:] for log, whose in logs.items()}
        return {whose: "\n".join(lines) for whose, lines in tails.items() if lines}
