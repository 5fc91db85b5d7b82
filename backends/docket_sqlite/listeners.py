"""Who on this machine wants to hear of commits: a table of loopback ports, and the datagrams to them.

A datagram is a hint, nothing more: who loses one finds the change by `PRAGMA data_version`. It opens with a word that
only those who can read the file know, so no stranger on the machine can invent an event.
"""

import json
import secrets
import socket
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from docket_sqlite.news import News, Wanted
from docket_sqlite.transaction import Transaction

LIFETIME = 180
"""Seconds after which a listener that was not renewed is forgotten: its process died."""
RENEWAL = 60
LARGEST = 32_000
"""Bytes of a datagram; longer news is cut into several, or told as 'look for yourself'."""


ANNOUNCE = """
INSERT INTO docket_listeners (docket, port, events, secret, expires_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (docket, port)
DO UPDATE SET events = excluded.events, secret = excluded.secret, expires_at = excluded.expires_at
"""


class Listener(NamedTuple):
    """One other instance that listens."""

    port: int
    wanted: Wanted
    secret: str


def announce(tx: Transaction, port: int, secret: str, wanted: Wanted) -> None:
    """Write, or renew, that somebody listens at `port`; forget those who have died."""
    now = int(time.time())
    tx.want_here(wanted)
    if port:
        tx.execute(ANNOUNCE, (tx.docket, port, wanted, secret, now + LIFETIME))
    tx.execute("DELETE FROM docket_listeners WHERE expires_at < ?", (now,))


def leave(tx: Transaction, port: int) -> None:
    """Nobody listens at `port` any more."""
    tx.execute("DELETE FROM docket_listeners WHERE docket = ? AND port = ?", (tx.docket, port))


def new_secret() -> str:
    return secrets.token_hex(8)


class Sender:
    """Sends news to listeners; used by one thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def send(self, news: News, to: Iterable[Listener]) -> None:
        cut: dict[Wanted, list[bytes]] = {}
        for listener in to:
            if listener.wanted not in cut:
                cut[listener.wanted] = _cut(news.part(listener.wanted))
            self._send(listener, cut[listener.wanted])

    def _send(self, listener: Listener, datagrams: list[bytes]) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        for datagram in datagrams:
            try:
                self._socket.sendto(listener.secret.encode() + datagram, ("127.0.0.1", listener.port))
            except OSError:  # a full buffer, or no loopback: the listener looks for itself before long
                return

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _cut(news: News) -> list[bytes]:
    datagrams: list[bytes] = []
    for part in news.portions():
        if part:
            data = json.dumps(part.to_json(), separators=(",", ":")).encode()
            datagrams.append(data if len(data) <= LARGEST else json.dumps({"lost": 1}).encode())
    return datagrams


def read(datagram: bytes, secret: str) -> News | None:
    """The news in a datagram; None if it is none of ours."""
    mark = secret.encode()
    if not datagram.startswith(mark):
        return None
    try:
        content: Any = json.loads(datagram[len(mark) :])
        return News.from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
