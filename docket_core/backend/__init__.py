"""The seam: everything a backend author needs to read, and the public API they build on.

`protocol` has the operations and their rules, `model` what is asked and answered, `records` what can be seen, `states`
the transitions, `capabilities` what may differ, `hookspecs` how a plugin describes itself, `kit` what authors need not
write again, `clock` the time, `url` the parsed URL. With `docket_core.errors` and the fixtures of
`docket_core.conformance` these are public. `PROTOCOL` is their version: a change that a backend must follow raises it,
and `load_plugin` refuses a plugin of another version.
The other modules here serve docket-core itself. `docs/writing-a-backend.md` is where to begin.
"""

from docket_core.backend.capabilities import Capabilities, Durability
from docket_core.backend.clock import SECOND, SYSTEM_CLOCK, Clock, ManualClock, Micros
from docket_core.backend.hookspecs import BackendPlugin, Migration, Opening, Option, hookimpl
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
    "Migration",
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
