"""Identifiers: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

import os
import time
from random import Random, SystemRandom

_random = Random(SystemRandom().getrandbits(128))
_MILLISECOND = 1_000_000
_FRAME = 1 << 124 | 2 << 62
"""A one before all digits, so that none is left out, and the variant."""


def uuid7() -> str:
    """A new UUIDv7 as text; one after the other in one process sort as they were made, as far as its clock tells.

    The twelve bits after the milliseconds are the fraction of one (RFC 9562, 6.2, method 3): stores append sorted keys
    to the end of their indexes.
    """
    moment = (time.time_ns() << 12) // _MILLISECOND
    digits = hex(_FRAME | moment << 64 | _random.getrandbits(62))  # "0x1", then all but the version's digit
    return f"{digits[3:11]}-{digits[11:15]}-7{digits[15:18]}-{digits[18:22]}-{digits[22:]}"


def reseed() -> None:
    """Start a new series of random bits; called in a forked child, which would repeat its parent's."""
    _random.seed(SystemRandom().getrandbits(128))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reseed)
