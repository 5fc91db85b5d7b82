"""Workers: take tasks off a docket and run them."""

from docket_core.worker.fallback import default_fallback_task
from docket_core.worker.worker import Worker

__all__ = ["Worker", "default_fallback_task"]
