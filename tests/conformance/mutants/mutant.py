"""What a mutant is: a memory backend with one thing wrong."""

from collections.abc import Set as AbstractSet
from typing import ClassVar, NamedTuple

from docket_core.backend.capabilities import MEBIBYTE
from docket_core.backend.clock import Clock, Micros
from docket_core.backend.hookspecs import Opening
from docket_core.backend.url import parse_url
from docket_core.conformance.subject import RETENTION, OpenBackend
from docket_core.errors import BackendUnavailable
from docket_memory.backend import MemoryBackend
from docket_memory.gates import Gates
from docket_memory.store import Store


class Sound(MemoryBackend):
    """The memory backend as it is; a mutant names another store or other gates, or overrides an operation."""

    store: ClassVar[type[Store]] = Store
    gates: ClassVar[type[Gates]] = Gates
    fault: ClassVar[type[Exception]] = BackendUnavailable
    """What the next heartbeat of a disrupted one raises."""
    disrupted: ClassVar[bool] = False

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        limit = self._store.max_tasks
        self._store = self.store(self._clock, opening.retention, opening.max_payload, limit)
        self._store.gates = self.gates()

    async def heartbeat(self, worker: str, functions: AbstractSet[str], ttl: Micros) -> None:
        if self.disrupted:
            type(self).disrupted = False
            raise self.fault
        await super().heartbeat(worker, functions, ttl)


class Mutant(NamedTuple):
    """One thing that is wrong, and the requirements by which it must be found."""

    backend: type[Sound]
    breaks: tuple[str, ...]
    """`Class.test_name` in the suite, with `[source-trigger]` for a pair of the state table."""

    @property
    def name(self) -> str:
        return self.backend.__name__


def opener_of(backend: type[Sound], **options: int) -> OpenBackend:
    """Opens this kind of memory backend, with these of its options."""

    def opened(
        name: str, clock: Clock | None, *, retention: Micros = RETENTION, max_payload: int = MEBIBYTE
    ) -> MemoryBackend:
        return backend(Opening(parse_url(f"memory://{backend.__name__}"), name, retention, max_payload, clock, options))

    return opened
