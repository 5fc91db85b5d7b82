"""Opening the file: its path, its settings, its tables."""

import sqlite3
import sys
import time
from pathlib import Path

from docket_core.backend.url import BackendURL
from docket_core.errors import ConfigurationError, SchemaMismatch
from docket_sqlite.failures import is_busy

SCHEMA_VERSION = 1
OLDEST_SQLITE = (3, 35, 0)
WAL_PAGES = 2000
"""How many pages the write-ahead log takes before a commit copies them into the file."""

CACHE_KIBIBYTES = 8192
"""Of the file's pages, for each connection: an instance has two of them at most."""


class File:
    """Where the database is, and how every connection to it is set up."""

    def __init__(self, url: BackendURL, synchronous: str, busy_timeout: float, max_size: int | None) -> None:
        self.path = _path_of(url)
        _, question, options = url.redacted.partition("?")
        self.url = f"{url.scheme}:///{self.path}{question}{options}"
        self.synchronous = synchronous
        self.busy_timeout = busy_timeout
        self.max_size = max_size

    def __str__(self) -> str:
        return str(self.path)

    def check(self) -> None:
        """Refuse a place where no database can be.

        Raises:
            ConfigurationError: it says what is missing.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed")
        if not self.path.parent.is_dir():
            raise ConfigurationError(f"{self.path}: there is no directory {self.path.parent}; make it first")
        if self.path.is_dir():
            raise ConfigurationError(f"{self.path}: this is a directory; give the path of a file")

    def identity(self) -> tuple[int, int] | None:
        """Which file stands at the path now; None if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def connect(self, busy_timeout: float | None = None) -> sqlite3.Connection:
        """A connection that begins no transaction by itself, used by one thread and closed by any."""
        connection = sqlite3.connect(
            self.path,
            timeout=self.busy_timeout if busy_timeout is None else busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        deadline = time.monotonic() + self.busy_timeout
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:  # no busy handler runs while the mode changes
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        if mode != "wal":
            raise ConfigurationError(
                f"{self.path}: this file system cannot keep a write-ahead log (journal_mode is {mode}); "
                f"use a local disk"
            )
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if sys.platform == "darwin" and self.synchronous == "full":
            connection.execute("PRAGMA fullfsync = ON")  # elsewhere fsync reaches the disk by itself
        if self.max_size is not None:
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {max(1, self.max_size // page_size)}")

    def prepare(self, connection: sqlite3.Connection, *, anew: bool = False) -> None:
        """Make docket's tables unless they are there (`anew`: those that are missing); many may do so at once.

        Raises:
            SchemaMismatch: a newer version made them.
        """
        if self._is_prepared(connection) and not anew:
            return
        from docket_sqlite.schema import DDL  # noqa: PLC0415 - SQLAlchemy: only who makes tables pays, and before it locks

        connection.execute("BEGIN IMMEDIATE")
        try:
            if anew or not self._is_prepared(connection):
                for statement in DDL:
                    connection.execute(statement)
                connection.execute("INSERT OR IGNORE INTO docket_schema (version) VALUES (?)", (SCHEMA_VERSION,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _is_prepared(self, connection: sqlite3.Connection) -> bool:
        known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'docket_schema'"
        if connection.execute(known).fetchone() is None:
            return False
        row = connection.execute("SELECT max(version) FROM docket_schema").fetchone()
        version = row[0] or 0
        if version > SCHEMA_VERSION:
            raise SchemaMismatch(
                f"{self.path}: its tables are of version {version}, this docket-core knows version {SCHEMA_VERSION}; "
                f"update docket-core, or give another file"
            )
        return bool(version == SCHEMA_VERSION)


def _path_of(url: BackendURL) -> Path:
    head, _, path = url.location.partition("/")
    if head or path in ("", ":memory:") or path.startswith("file:"):
        raise ConfigurationError(
            f"{url.redacted!r} names no file; the form is sqlite:///relative.db or sqlite:////absolute.db, and for a "
            f"docket in memory memory://name"
        )
    return Path(path).absolute()
