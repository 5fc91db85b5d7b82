"""Tasks in a caller's own transaction."""

from contextlib import AbstractAsyncContextManager

from docket_core.backend.clock import Clock
from docket_core.backend.hookspecs import Opening
from docket_core.backend.protocol import Enqueuer
from docket_sqlite.connection import File
from docket_sqlite.desk import Desk


def join(
    connection: object, file: File, desk: Desk, opening: Opening, clock: Clock
) -> AbstractAsyncContextManager[Enqueuer]:
    raise NotImplementedError
