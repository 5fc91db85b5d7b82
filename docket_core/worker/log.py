"""What a worker logs of its tasks. A formatter or filter of the user's that raises costs a line, not a task."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Claim
from docket_core.execution import Execution

logger = logging.getLogger("docket_core.worker")


def quietly(log: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Log, whatever the handlers, filters and arguments do."""
    with suppress(Exception):  # logging is the user's to configure; tasks go on without it
        log(*args, **kwargs)


def log_start(execution: Execution, claim: Claim) -> None:
    """A task starts: how late, and what."""
    if logger.isEnabledFor(logging.INFO):
        late = max(0, claim.claimed_at - claim.when) / SECOND
        again = " (redelivered)" if claim.delivery > 1 else ""
        quietly(logger.info, "↪ [%s] %s{%s}%s", _seconds(late), execution.call_repr(), execution.key, again)


def log_end(execution: Execution, how: str, since: float | timedelta, error: BaseException | None = None) -> None:
    """A task has ended: how long it took, and how."""
    level = logging.ERROR if error is not None else logging.INFO
    if logger.isEnabledFor(level):
        seconds = since.total_seconds() if isinstance(since, timedelta) else time.perf_counter() - since
        message = "↩ [%s] %s{%s} %s"
        parts = (_seconds(seconds), execution.call_repr(), execution.key, how)
        quietly(logger.log, level, message, *parts, exc_info=error)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"
