"""docket-core for code without an event loop: views of Django and Flask, scripts, a prompt.

`from docket_core.sync import SyncDocket`: the name differs from `docket_core.Docket`, since a module that defines tasks
for both kinds of callers imports both, and a traceback has to tell them apart.
"""

from docket_core.sync.docket import SyncDocket
from docket_core.sync.execution import SyncExecution, SyncProgress

__all__ = ["SyncDocket", "SyncExecution", "SyncProgress"]
