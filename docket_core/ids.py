"""Identifiers: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

import os
import time
from random import Random, SystemRandom

_random = Random(SystemRandom().getrandbits(128))
_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_RANDOM_A = 0xFFF << 64
_RANDOM_B = (1 << 62) - 1


def uuid7() -> str:
    """A new UUIDv7 as text."""
    bits = _random.getrandbits(76)
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | _VERSION_AND_VARIANT | ((bits << 2) & _RANDOM_A) | (bits & _RANDOM_B)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def reseed() -> None:
    """Start a new series of random bits; called in a forked child, which would repeat its parent's."""
    _random.seed(SystemRandom().getrandbits(128))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reseed)
