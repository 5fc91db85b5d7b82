"""The seam: everything a backend author needs to read, and the public API they build on (`PROTOCOL` is its version).

`protocol` has the operations and their rules, `model` the records, `states` the transitions, `capabilities` what may
differ, `hookspecs` how a plugin describes itself, `kit` what authors need not write again, `clock` the time.
"""

from docket_core.backend.capabilities import Capabilities, Durability
from docket_core.backend.clock import SECOND, SYSTEM_CLOCK, Clock, ManualClock, Micros
from docket_core.backend.hookspecs import BackendPlugin, Opening, Option, hookimpl
from docket_core.backend.protocol import PROTOCOL, Backend, Enqueuer, Subscription
from docket_core.backend.registry import installed_schemes, load_plugin, open_backend
from docket_core.backend.states import TRANSITIONS, Stage, State, Transition, Trigger
from docket_core.backend.url import BackendURL, redact

__all__ = [
    "PROTOCOL",
    "SECOND",
    "SYSTEM_CLOCK",
    "TRANSITIONS",
    "Backend",
    "BackendPlugin",
    "BackendURL",
    "Capabilities",
    "Clock",
    "Durability",
    "Enqueuer",
    "ManualClock",
    "Micros",
    "Opening",
    "Option",
    "Stage",
    "State",
    "Subscription",
    "Transition",
    "Trigger",
    "hookimpl",
    "installed_schemes",
    "load_plugin",
    "open_backend",
    "redact",
]
