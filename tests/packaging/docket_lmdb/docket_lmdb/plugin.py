"""Makes the LMDB backend known: `lmdb:///path/to/folder`."""

from docket_core.backend import BackendPlugin, Opening, Option, hookimpl
from docket_core.backend.kit import whole_number
from docket_core.backend.protocol import Backend


def _open(opening: Opening) -> Backend:
    from docket_lmdb.backend import LmdbBackend

    return LmdbBackend(opening)


@hookimpl
def docket_core_backend() -> BackendPlugin:
    return BackendPlugin(
        title="lmdb",
        schemes=("lmdb",),
        open=_open,
        summary="a folder on this machine, for any number of processes; on disk before it is acknowledged",
        options={
            "size": Option(whole_number(1), 8192, "how far the store may grow, in MiB"),
            "poll": Option(whole_number(1), 20, "how often to look for changes while waiting, in milliseconds"),
        },
        driver="lmdb",
        extra="docket-lmdb",
        protocol=1,
    )
