"""Makes the SQLite backend known: `sqlite:///relative.db`, `sqlite:////absolute.db`."""

from pathlib import Path

from docket_core.backend.hookspecs import BackendPlugin, Opening, Option, hookimpl
from docket_core.backend.kit import one_of, whole_number
from docket_core.backend.protocol import Backend

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _size(text: str) -> int:
    """A number of bytes, with K, M or G for its powers of 1024."""
    number, factor = text, 1
    if text and text[-1].lower() in _UNITS:
        number, factor = text[:-1], _UNITS[text[-1].lower()]
    return whole_number(1)(number) * factor


def _open(opening: Opening) -> Backend:
    from docket_sqlite.backend import SqliteBackend

    return SqliteBackend(opening)


def _limited(folder: Path) -> str:
    return f"sqlite:///{folder}/docket.db?synchronous=normal&max_size=1M"


@hookimpl
def docket_core_backend() -> BackendPlugin:
    return BackendPlugin(
        title="SQLite",
        schemes=("sqlite",),
        open=_open,
        summary="one file on a local disk, shared by the processes of one machine; survives power loss by default",
        options={
            "synchronous": Option(
                one_of("full", "normal"),
                "full",
                "full: an answered write is on disk; normal: faster, a power loss may take the latest writes",
            ),
            "busy_timeout": Option(whole_number(0), 5000, "milliseconds to wait for another's lock on the file"),
            "max_size": Option(
                _size, None, "bytes (K, M, G) the file may grow to; new tasks are refused at half of it"
            ),
        },
        protocol=1,
        limited=_limited,
    )
