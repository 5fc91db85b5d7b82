"""The one pluggy hook by which a backend makes itself known, and what it tells.

A plugin is a module named by an entry point in the group `docket_core.backends`; the entry point's name
is the URL scheme. The module must be light: it imports its driver inside `open`, not at its top.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pluggy

from docket_core.backend.clock import Clock, Micros
from docket_core.backend.protocol import PROTOCOL, Backend
from docket_core.backend.url import BackendURL

PROJECT = "docket_core"
ENTRY_POINT_GROUP = "docket_core.backends"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

OptionValue = str | int | float | bool


class Option(NamedTuple):
    """One option that a URL's query string may carry."""

    parse: Callable[[str], OptionValue]
    """Turns its text into its value; raises ValueError with what it takes."""
    default: OptionValue | None
    help: str


class Opening(NamedTuple):
    """All that a backend is told when it is opened."""

    url: BackendURL
    name: str
    """The docket's name."""
    retention: Micros
    """How long the last part of a record is kept; 0 forgets at the ack."""
    max_payload: int
    """The largest payload or result to take, in bytes."""
    clock: Clock | None
    """For tests: the time that decides instead of the store's own."""
    options: Mapping[str, OptionValue | None]
    """Every option that the plugin declared: parsed, or its default."""

    def __repr__(self) -> str:
        return f"Opening({self.url.redacted!r}, {self.name!r})"


class Migration(NamedTuple):
    """How a store's schema is made or upgraded by hand, where the role that uses it may not. URLs are the backend's."""

    sql: Callable[[str], str]
    """All that makes or upgrades the schema of this URL, to be read and run by whoever may; repeating it is safe."""
    grants: Callable[[str, str], str]
    """What the role of this name needs to use the schema of this URL."""
    apply: Callable[[str], Awaitable[bool]]
    """Make or upgrade it now; whether there was anything to do."""


class BackendPlugin(NamedTuple):
    """What a plugin says of itself."""

    title: str
    schemes: tuple[str, ...]
    open: Callable[[Opening], Backend]
    """Makes the backend, not yet open; no I/O. Imports the driver."""
    summary: str = ""
    """One line on what it is and promises, for people who choose."""
    options: Mapping[str, Option] = {}
    driver: str | None = None
    """The top-level module of the driver that `open` imports."""
    extra: str | None = None
    """What to install if that module is missing, such as `docket-core[redis]`."""
    migration: Migration | None = None
    """How to prepare the store by hand; None where opening it is all there is to do."""
    protocol: int = PROTOCOL
    """The protocol version that the plugin was written for; write the number, not the constant."""
    limited: Callable[[Path], str] | None = None
    """The URL of a store of its own, in this empty folder if anywhere, that a few hundred small tasks fill: by it the
    conformance suite sees that a full store drains. None where options of the URL cannot make one."""


class BackendHooks:
    """The hook specification."""

    @hookspec(firstresult=True)
    def docket_core_backend(self) -> BackendPlugin | None:
        """Describe the backend of this plugin."""
