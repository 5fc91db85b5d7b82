"""The scripts: which files make up which, and their digests."""

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple

_ENDS = ("base", "gates", "parts")
_PARTS: dict[str, tuple[str, ...]] = {
    "acquire": _ENDS,
    "ack": _ENDS,
    "cancel": _ENDS,
    "claim": _ENDS,
    "clear": _ENDS,
    "counts": ("base",),
    "enqueue": _ENDS,
    "get": (*_ENDS, "records"),
    "presence": ("base",),
    "progress": _ENDS,
    "prune": _ENDS,
    "release": _ENDS,
    "renew": _ENDS,
    "scan": (*_ENDS, "records"),
    "strike": ("base",),
    "strikes": ("base",),
}
NAMES = tuple(_PARTS)
_DEEPER, _OUT = b"return (function()\n", b"end)()"
"""Each file stands in a function of its own, inside the one before it. What a Lua function takes from further out it
gets by a copy; what from its own level, by a walk along all that its neighbours took; a call makes fifty functions."""


class Script(NamedTuple):
    """A script as it is sent to the server, and the digest by which the server knows it."""

    name: str
    text: bytes
    digest: str


@cache
def script(name: str) -> Script:
    """The script of that name, with the files it stands on in front."""
    folder = files("docket_redis") / "scripts"
    parts = [(folder / f"{part}.lua").read_bytes() for part in (*_PARTS[name], name)]
    text = _DEEPER.join(parts) + _OUT * (len(parts) - 1)
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest())
