"""When each task's body started: a file of times that all processes of a scenario share.

The place of a time is the task's number, so recording it is one write to memory, in every process and framework alike.
Uses the standard library only: contestants that are not docket-core load it too.
"""

import mmap
import time
from array import array
from pathlib import Path
from types import TracebackType
from typing import Self

_SIZE = 8


class Marks:
    """An array of monotonic times, in seconds, in a file; 0.0 where a task has not started."""

    def __init__(self, path: Path, count: int | None = None) -> None:
        """Open the marks in the file `path`; with `count`, make them."""
        if count is not None:
            path.write_bytes(bytes(_SIZE * max(1, count)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.times = memoryview(self._map).cast("d")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.times.release()
        self._map.close()

    def mark(self, number: int) -> None:
        """The task of this number has started now; numbers nobody made room for are not recorded."""
        if number < len(self.times):
            self.times[number] = time.monotonic()

    def unload(self) -> None:
        """Take the file's pages out of this process's memory, where the system can; what stands in it stays."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def all(self) -> list[float]:
        """All times, by number."""
        return [*self.times]

    def forget(self, first: int) -> None:
        """Forget the times from this number on."""
        for number in range(first, len(self.times)):
            self.times[number] = 0.0

    def started(self) -> int:
        """How many tasks have started."""
        return len(self.times) - array("d", self._map[:]).count(0.0)
