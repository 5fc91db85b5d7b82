"""Makes the memory backend known: `memory://name`, one store per URL, docket name and process."""

from pathlib import Path

from docket_core.backend.hookspecs import BackendPlugin, Opening, Option, hookimpl
from docket_core.backend.kit import whole_number
from docket_core.backend.protocol import Backend


def _open(opening: Opening) -> Backend:
    from docket_memory.backend import MemoryBackend

    return MemoryBackend(opening)


def _limited(folder: Path) -> str:
    return f"memory://{folder}?max_tasks=50"


@hookimpl
def docket_core_backend() -> BackendPlugin:
    return BackendPlugin(
        title="memory",
        schemes=("memory",),
        open=_open,
        summary="in this process only, nothing survives it; for tests and single-process use",
        options={"max_tasks": Option(whole_number(1), None, "refuse new tasks beyond this many live ones")},
        protocol=1,
        limited=_limited,
    )
