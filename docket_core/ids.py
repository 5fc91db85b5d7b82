"""Identifiers: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

import os
import time
from random import Random, SystemRandom

_random = Random(SystemRandom().getrandbits(128))
_VERSION, _VARIANT = 0x7000, 0x8000
_MILLISECOND = 1_000_000


def uuid7() -> str:
    """A new UUIDv7 as text; one after the other in one process sort as they were made, as far as its clock tells.

    The twelve bits after the milliseconds are the fraction of one (RFC 9562, 6.2, method 3): stores append sorted keys
    to the end of their indexes.
    """
    milliseconds, rest = divmod(time.time_ns(), _MILLISECOND)
    fraction = (rest << 12) // _MILLISECOND
    high, low = divmod(_random.getrandbits(62), 1 << 48)
    time_high, time_low = divmod(milliseconds, 1 << 16)
    return f"{time_high:08x}-{time_low:04x}-{_VERSION | fraction:x}-{_VARIANT | high:x}-{low:012x}"


def reseed() -> None:
    """Start a new series of random bits; called in a forked child, which would repeat its parent's."""
    _random.seed(SystemRandom().getrandbits(128))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reseed)
