"""How much room is left: new tasks are refused while there is still enough to end those that are kept."""

import os

from docket_core.errors import Overloaded
from docket_sqlite.connection import File
from docket_sqlite.transaction import Executor

KEPT_SHARE = 0.5
"""Of `max_size` for the claims and acks of what the rest holds: rows grow by worker, lease and result, and where
rows grow, full pages are split."""
ROW_BYTES = 450
"""What a task takes beside its payload and headers, with its places in the indexes."""
KEPT_ON_DISK = 16 << 20
KEPT_SHARE_OF_DISK = 0.1
"""Of a disk so small that this is less than `KEPT_ON_DISK`."""

_FIGURES = ("max_page_count", "page_count", "freelist_count", "page_size")


class Room:
    """Looks at the limit of the file, and at the disk it is on, on behalf of one transaction after the other."""

    def __init__(self, executor: Executor, file: File) -> None:
        self._executor = executor
        self._file = file
        self._left: int | None = None
        """Bytes that this transaction may still add; None before it was looked at."""
        self._bound = ""

    def begin(self) -> None:
        """A new transaction begins."""
        self._left = None

    def refusal(self, size: int) -> Overloaded | None:
        """Why a new task of so many bytes is not taken now, if it is not; if it is, it is counted."""
        if self._left is None:
            self._left, self._bound = min(self._in_file(), self._on_disk())
        size += ROW_BYTES
        if self._left < size:
            return Overloaded(
                f"{self._file}: {self._bound}; what is left is kept for ending the tasks there are, and new ones are "
                f"taken again once ended ones are forgotten or there is more room"
            )
        self._left -= size
        return None

    def _in_file(self) -> tuple[int, str]:
        bound = "the file is full by its max_size"
        if self._file.max_size is None:
            return 1 << 62, bound
        figures: list[int] = [self._executor.execute(f"PRAGMA {name}")[0][0] for name in _FIGURES]
        limit, used, unused, page_size = figures
        return int(limit * (1 - KEPT_SHARE) - used + unused) * page_size, bound

    def _on_disk(self) -> tuple[int, str]:
        bound = "the disk is nearly full"
        path = self._file.path
        try:
            status = os.statvfs(path.parent)
        except (OSError, AttributeError):  # not every system tells
            return 1 << 62, bound
        log = path.with_name(f"{path.name}-wal")
        logged = log.stat().st_size if log.exists() else 0
        kept = min(KEPT_ON_DISK, int(status.f_blocks * status.f_frsize * KEPT_SHARE_OF_DISK))
        free = status.f_bavail * status.f_frsize - logged - kept
        return free // 2, bound  # all is written twice: to the log, and from there to the file
