"""Who takes part: how its processes are started, and what a scenario does with them."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import uuid4

from docket_core.bench.marks import Marks

PATIENCE = 120.0
"""Seconds after which a process that does not answer has failed."""
STALLED = 15.0
"""Seconds without any start after which no more tasks are waited for."""
LEAVING = 10.0


class Failed(Exception):
    """A contestant could not do what a scenario asked for."""


class Lacking(Exception):
    """A contestant has no way to do what a scenario asks for."""


class Probe(Protocol):
    """What only the store itself can tell. All may take their time: nothing is measured meanwhile."""

    async def fresh(self, name: str) -> str:
        """The URL of an empty store for one scenario; what was there before is gone."""
        ...

    async def commands(self) -> float | None:
        """How many commands clients have sent so far, without this question; None if nobody knows."""
        ...

    async def size(self) -> float | None:
        """How many bytes the store takes now."""
        ...


@dataclass(frozen=True)
class Contestant:
    """One row or column of the comparison."""

    name: str
    store: str
    """Rows of one store are compared with each other."""
    url: str
    command: Sequence[str] = (sys.executable, "-m", "docket_core.bench.subject")
    """Starts an agent that hosts it."""
    kind: str = "ours"
    """`ours`, `peer` or `limit`."""
    processes: bool = True
    """Whether producer and workers can be processes of their own; else all happens in one loop."""
    probe: Probe | None = None
    scenarios: frozenset[str] | None = None
    """The names of those it takes part in; None is all."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    folder: str | None = None
    """The current directory of its processes."""


class Agent:
    """A process that hosts a subject."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    async def __call__(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            Lacking: the subject has no way to do it.
            Failed: it went wrong, or took too long.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        try:
            async with asyncio.timeout(PATIENCE):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise Failed(f"{command} took more than {PATIENCE:.0f} s; {self._tail()}") from None
        if not line:
            raise Failed(f"the process ended at {command}; {self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kind = Lacking if answer.get("lacking") else Failed
            raise kind(f"{command}: {answer['error']}")
        return answer

    async def kill(self) -> None:
        """End it as a power cut would."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def end(self) -> None:
        """Let it end by itself; kill it if that takes too long."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                await self._process.wait()
        if self._process.returncode is None:
            await self.kill()

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-15:] if self._log.exists() else []
        return "its log ends with:\n" + "\n".join(lines) if lines else "it has logged nothing"


class Field:
    """What one scenario of one contestant happens on: a fresh name, shared marks, processes that end with it."""

    def __init__(self, contestant: Contestant, folder: Path) -> None:
        self.contestant = contestant
        self.folder = folder
        self.name = f"bench-{uuid4().hex[:12]}"
        self.url = contestant.url
        self._marks: Marks | None = None
        self._agents: list[Agent] = []
        self._producer: Agent | None = None

    async def __aenter__(self) -> Self:
        if self.contestant.probe is not None:
            self.url = await self.contestant.probe.fresh(self.name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                await asyncio.gather(*(agent.kill() for agent in self._agents))
            elif self._agents:
                await asyncio.gather(*(agent("stop") for agent in self._agents))
                await (self._producer or self._agents[0])("clear")
                await asyncio.gather(*(agent("close") for agent in self._agents))
        finally:
            await asyncio.gather(*(agent.end() for agent in self._agents))
            if self._marks is not None:
                self._marks.close()

    @property
    def marks(self) -> Marks:
        if self._marks is None:
            raise RuntimeError("make room first")
        return self._marks

    def room(self, count: int) -> None:
        """Make room for the marks of so many tasks, before any process is started."""
        self._marks = Marks(self.folder / self.name, count)

    async def producer(self, **settings: Any) -> Agent:
        """The process that adds."""
        if self._producer is None:
            self._producer = await self._open(settings)
        return self._producer

    async def workers(self, count: int = 1, **settings: Any) -> list[Agent]:
        """Processes for workers, open but not yet working; where all is in one process, that of the producer."""
        if not self.contestant.processes:
            return [await self.producer(**settings)]
        return list(await asyncio.gather(*(self._open(settings) for _ in range(count))))

    async def retire(self, agent: Agent) -> None:
        """Let a process end before the others, or take note that it has."""
        self._agents.remove(agent)
        await agent.end()

    async def all_started(self, count: int) -> None:
        """Return once so many tasks have started; looks seldom while there is much to do.

        Raises:
            Failed: nothing more starts.
        """
        seen, moved = 0, 0.0
        pause = 0.002
        while (started := self.marks.started()) < count:
            if started == seen:
                moved += pause
                if moved > STALLED:
                    raise Failed(f"only {started} of {count} tasks have started, and no more do")
                pause = min(0.05, pause * 1.5)
            else:  # at this rate, half of what is left takes so long
                pause = min(0.1, max(0.002, pause * (count - started) / (started - seen) / 2))
                seen, moved = started, 0.0
            await asyncio.sleep(pause)

    async def _open(self, settings: Mapping[str, Any]) -> Agent:
        if self._marks is None:
            self.room(1)
        log = self.folder / f"{self.name}.log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("DOCKET_")}
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *self.contestant.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**own, **self.contestant.environment},
                cwd=self.contestant.folder,
                limit=2**24,
                start_new_session=True,  # Ctrl-C reaches the benchmark only, which then ends its processes
            )
        agent = Agent(process, log)
        self._agents.append(agent)
        both = {**self.contestant.settings, **settings}
        await agent("open", url=self.url, name=self.name, settings=both, marks=str(self.folder / self.name))
        return agent


@asynccontextmanager
async def fresh(contestant: Contestant) -> AsyncGenerator[Field, None]:
    """A field for one scenario; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="docket-bench-") as folder:
        async with Field(contestant, Path(folder)) as made:
            yield made
