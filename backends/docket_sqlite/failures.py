"""What SQLite's errors mean, in the errors of the seam."""

import sqlite3

from docket_core.errors import BackendUnavailable, DocketError, Overloaded, SchemaMismatch
from docket_sqlite.transaction import DocketGone

_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of this error; 0 if it has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds the lock that was needed."""
    return primary_code(error) in (_BUSY, _LOCKED)


def is_full(error: BaseException) -> bool:
    """Whether there was no room for the write."""
    return primary_code(error) == _FULL


def is_missing_table(error: BaseException) -> bool:
    """Whether a table, or the docket's row in it, is not there any more."""
    missing = isinstance(error, sqlite3.OperationalError) and "no such table: docket_" in str(error)
    return missing or isinstance(error, DocketGone)


def is_broken(error: BaseException) -> bool:
    """Whether the connection itself may be at fault, so that a new one is worth a try."""
    return primary_code(error) in (_IOERR, _CORRUPT, _NOTADB, _CANTOPEN)


def translate(error: BaseException, path: str) -> DocketError | None:
    """The error of the seam that tells of `error`; None for what does not come from SQLite."""
    if isinstance(error, DocketError):
        return error
    if isinstance(error, OSError):
        return BackendUnavailable(f"{path}: {error}")
    if not isinstance(error, sqlite3.Error):
        return None
    text = _TEXTS.get(primary_code(error))
    if text is not None:
        kind, words = text
        return kind(f"{path}: {words} ({error})")
    if is_missing_table(error) or "no such column" in str(error) or "has no column" in str(error):
        return SchemaMismatch(f"{path}: docket's tables are missing or not as this version made them ({error})")
    return BackendUnavailable(f"{path}: SQLite failed: {error}")


_TEXTS: dict[int, tuple[type[DocketError], str]] = {
    _BUSY: (
        BackendUnavailable,
        "another connection kept the file locked for longer than busy_timeout; end its transaction sooner, or raise it",
    ),
    _LOCKED: (BackendUnavailable, "a table is locked by another statement of the same connection"),
    _READONLY: (
        BackendUnavailable,
        "this user cannot write the file, or cannot make -wal and -shm files in its directory",
    ),
    _IOERR: (BackendUnavailable, "the disk answered with an error"),
    _CORRUPT: (SchemaMismatch, "the file is damaged; restore it, or move it away to start empty"),
    _FULL: (Overloaded, "there is no room left, by max_size or on the disk"),
    _CANTOPEN: (BackendUnavailable, "the file cannot be opened; look at its path and permissions"),
    _NOTADB: (SchemaMismatch, "the file is no SQLite database; give another path, or move it away"),
}
