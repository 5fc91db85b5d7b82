"""LMDB as this backend uses it: one environment per folder and process, and transactions on ordered keys.

A key is the docket's digest, a table's letter, and what the table is ordered by. LMDB's keys have at most 511 bytes, so
names stand in them as digests.
"""

import os
import threading
from collections.abc import Callable, Iterator
from errno import ENOSPC
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import lmdb

from docket_core.backend.kit import translated
from docket_core.errors import BackendUnavailable, DocketError, Overloaded, SchemaMismatch

T = TypeVar("T")
SCHEMA = b"1"
_LARGEST = (1 << 63) - 1


def digest(name: str) -> bytes:
    """16 bytes that stand for a name."""
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()


def number(value: int) -> bytes:
    """8 bytes that are ordered as the number is."""
    return max(0, min(value, _LARGEST)).to_bytes(8, "big")


class Tx:
    """One transaction, as one docket sees it."""

    def __init__(self, txn: "lmdb.Transaction[bytes]", docket: bytes) -> None:
        self._txn = txn
        self._docket = docket
        self.written = False

    @property
    def snapshot(self) -> int:
        """The number of the commit that a reading transaction sees."""
        return self._txn.id()

    def get(self, key: bytes) -> bytes | None:
        return self._txn.get(self._docket + key)

    def put(self, key: bytes, value: bytes) -> None:
        self.written = True
        self._txn.put(self._docket + key, value)

    def delete(self, key: bytes) -> None:
        self.written = True
        self._txn.delete(self._docket + key)

    def walk(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys (without the docket) and values below `prefix`, from `start` on; nothing may be written meanwhile."""
        whole = self._docket + prefix
        with self._txn.cursor() as cursor:
            there = cursor.set_range(whole + start)
            while there and cursor.key().startswith(whole):
                yield cursor.key()[len(self._docket) :], cursor.value()
                there = cursor.next()

    def first(self, prefix: bytes, start: bytes = b"") -> tuple[bytes, bytes] | None:
        """The first of `walk`."""
        return next(self.walk(prefix, start), None)

    def groups(self, prefix: bytes) -> Iterator[bytes]:
        """The different digests that follow `prefix`; one step for each, however much is below it."""
        start = b""
        while (found := self.first(prefix, start)) is not None:
            group = found[0][len(prefix) : len(prefix) + 16]
            yield group
            start = group + b"\xff" * 17

    def count(self, name: bytes) -> int:
        """A counter's value."""
        return int.from_bytes(self.get(b"c" + name) or b"", "big")

    def next(self, name: bytes, at_least: int = 0) -> int:
        """A counter's next value."""
        value = max(self.count(name) + 1, at_least)
        self.put(b"c" + name, number(value))
        return value


class Database:
    """The environment of one folder, which all backends of this process share: LMDB allows no second one."""

    def __init__(self, identity: tuple[int, Path], size: int) -> None:
        self._identity = identity
        self._users = 0
        self._env = lmdb.Environment(str(identity[1]), map_size=size << 20, max_readers=1024)
        self._env.reader_check()  # frees the places of readers that were killed
        with self._env.begin(write=True) as txn:
            schema = txn.get(b"schema")
            if schema is None:
                txn.put(b"schema", SCHEMA)
        if schema not in (None, SCHEMA):
            self._env.close()
            raise SchemaMismatch(
                f"{identity[1]} has the schema {schema!r}; this version of docket-lmdb needs {SCHEMA!r}"
            )

    @classmethod
    def opened(cls, path: Path, size: int) -> "Database":
        """The environment of this folder, made where there is none; give it back with `close`."""
        with translated(_translate), _LOCK:
            path.mkdir(parents=True, exist_ok=True)
            identity = (os.getpid(), path.resolve())
            database = _OPEN.get(identity) or cls(identity, size)
            _OPEN[identity] = database
            database._users += 1
            return database

    def close(self) -> None:
        with _LOCK:
            self._users -= 1
            if not self._users:
                del _OPEN[self._identity]
                self._env.close()

    def commits(self) -> int:
        """The number of the latest commit of any process; a transaction may see it a moment later. Costs nothing."""
        return self._env.info()["last_txnid"]

    def transact(self, docket: bytes, work: Callable[[Tx], T], *, write: bool) -> T:
        """Do `work` in a transaction: all of it or nothing. What wrote nothing costs no sync."""
        with translated(_translate):
            txn = self._env.begin(write=write)
            try:
                tx = Tx(txn, docket)
                result = work(tx)
                if tx.written:
                    txn.commit()
                return result
            finally:
                txn.abort()  # nothing is left to undo after a commit


_OPEN: dict[tuple[int, Path], Database] = {}
_LOCK = threading.Lock()


def _translate(error: BaseException) -> DocketError | None:
    if isinstance(error, lmdb.MapFullError) or getattr(error, "errno", getattr(error, "code", None)) == ENOSPC:
        return Overloaded(f"the LMDB store is full; give it more room by ?size=…: {error}")
    if isinstance(error, lmdb.InvalidError | lmdb.VersionMismatchError | lmdb.CorruptedError):
        return SchemaMismatch(f"this is no LMDB store that can be read here: {error}")
    if isinstance(error, lmdb.Error | OSError):
        return BackendUnavailable(f"the LMDB store cannot be used now: {error}")
    return None
