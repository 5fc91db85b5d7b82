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


class Script(NamedTuple):
    """A script as it is sent to the server, and the digest by which the server knows it."""

    name: str
    text: bytes
    digest: str


@cache
def script(name: str) -> Script:
    """The script of that name, with the files it stands on in front."""
    folder = files("docket_redis") / "scripts"
    text = b"".join((folder / f"{part}.lua").read_bytes() for part in (*_PARTS[name], name))
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest())
