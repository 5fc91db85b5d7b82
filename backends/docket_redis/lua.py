"""The scripts: which files make up which, and their digests."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

_PARTS = ("base", "parts")
_ENDS = (*_PARTS, "gates", "endings")
FILES: dict[str, tuple[str, ...]] = {
    "acquire": (*_ENDS, "acquire"),
    "ack": (*_ENDS, "ack"),
    "ask": ("base", "ask"),
    "cancel": (*_ENDS, "cancel"),
    "claim": ("swift_claim", *_ENDS, "claim"),
    "clear": (*_ENDS, "clear"),
    "counts": ("base", "counts"),
    "enqueue": ("swift_enqueue", *_PARTS, "enqueue"),
    "get": (*_PARTS, "records", "get"),
    "presence": ("base", "presence"),
    "progress": (*_PARTS, "progress"),
    "prune": (*_ENDS, "prune"),
    "release": (*_ENDS, "release"),
    "renew": (*_ENDS, "renew"),
    "replace": (*_ENDS, "displace", "enqueue"),
    "scan": (*_PARTS, "records", "scan"),
    "strike": ("base", "strike"),
    "strikes": ("base", "strikes"),
}
"""Of each script its files: no more than it needs, since every call makes all of their functions."""
NAMES = tuple(FILES)
_DEEPER, _OUT = b"return (function()\n", b"end)()"
"""Each file stands in a function of its own, inside the one before it. What a Lua function takes from further out it
gets by a copy; what from its own level, by a walk along all that its neighbours took; a call makes up to
fifty functions."""


class Script(NamedTuple):
    """A script as it is sent to the server, and the digest by which the server knows it."""

    name: str
    text: bytes
    digest: str


@cache
def script(name: str) -> Script:
    """The script of that name, put together from its files."""
    text = joined(FILES[name])
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest())


def joined(names: Sequence[str]) -> bytes:
    """What these files do, one after the other."""
    folder = files("docket_redis") / "scripts"
    parts = [(folder / f"{name}.lua").read_bytes() for name in names]
    return _DEEPER.join(parts) + _OUT * (len(parts) - 1)
