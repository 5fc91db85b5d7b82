"""How much room is left: new tasks are refused while there is still enough to end those that are kept."""

import os
import time

from docket_core.errors import Overloaded
from docket_sqlite.connection import File
from docket_sqlite.transaction import Executor

KEPT_SHARE = 3
"""A third of `max_size` is kept for the claims and acks of what the rest holds: their rows grow by results."""
KEPT_ON_DISK = 8 << 20
KEPT_SHARE_OF_DISK = 20
LOOK_EVERY = 0.2


class Room:
    """Looks at the limit of the file, and at the disk it is on."""

    def __init__(self, executor: Executor, file: File) -> None:
        self._executor = executor
        self._file = file
        self._limit: int | None = None
        if file.max_size is not None:
            self._limit = executor.execute("PRAGMA max_page_count")[0][0]
        self._looked_at = 0.0
        self._disk: Overloaded | None = None

    def refusal(self) -> Overloaded | None:
        """Why no new task is taken now, if none is."""
        if self._limit is not None:
            used = self._executor.execute("PRAGMA page_count")[0][0]
            if used > self._limit - self._limit // KEPT_SHARE:
                used -= self._executor.execute("PRAGMA freelist_count")[0][0]
                if used > self._limit - self._limit // KEPT_SHARE:
                    return Overloaded(
                        f"{self._file}: full by its max_size; new tasks are taken again once ended ones are forgotten"
                    )
        if time.monotonic() - self._looked_at > LOOK_EVERY:
            self.look_again()
        return self._disk

    def look_again(self) -> None:
        """See how much is free on the disk."""
        self._looked_at = time.monotonic()
        self._disk = None
        if not hasattr(os, "statvfs"):
            return
        try:
            status = os.statvfs(self._file.path.parent)
        except OSError:
            return
        free = status.f_bavail * status.f_frsize
        if free < min(KEPT_ON_DISK, status.f_blocks * status.f_frsize // KEPT_SHARE_OF_DISK):
            self._disk = Overloaded(
                f"{self._file}: the disk has {free:,} bytes left, which are kept for ending the tasks that are there"
            )
