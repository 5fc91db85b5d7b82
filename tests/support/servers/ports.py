"""Ports for servers, drawn so that no two of all the processes that run tests draw the same one.

Who draws a port holds the UDP port of that number until its process ends, which no server here uses. They lie below
those that the system gives to outgoing connections, so a server that is stopped for a while finds its port free.
"""

import random
import socket

_FIRST, _LAST = 10_000, 22_000
"""The one that a cluster's node uses besides, ten thousand higher, is below the system's too."""


def free_port(companion: int = 0) -> int:
    """A port on loopback that nothing listens on; nor on the one that is so many higher."""
    while True:
        port = random.randrange(_FIRST, _LAST)
        if _drawn(port) and (not companion or _drawn(port + companion)):
            return port


def _drawn(port: int) -> bool:
    """Whether it is this process's from now on, until it ends."""
    with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket() as probe:
        try:
            ours.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        ours.detach()
        return True
