"""What a worker logs of its tasks."""

import logging
from datetime import timedelta

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Claim
from docket_core.execution import Execution
from docket_core.logs import get_logger

logger = get_logger("docket_core.worker")


def log_start(execution: Execution, claim: Claim) -> None:
    """A task starts: how late, and what."""
    if logger.logger.isEnabledFor(logging.INFO):
        late = max(0, claim.claimed_at - claim.when) / SECOND
        again = " (redelivered)" if claim.delivery > 1 else ""
        logger.info("↪ [%s] %s{%s}%s", _seconds(late), execution.call_repr(), execution.key, again)


def log_end(execution: Execution, how: str, duration: timedelta, error: BaseException | None = None) -> None:
    """A task has ended: how long it took, and how."""
    level = logging.ERROR if error is not None else logging.INFO
    if logger.isEnabledFor(level):
        message = "↩ [%s] %s{%s} %s"
        parts = (_seconds(duration.total_seconds()), execution.call_repr(), execution.key, how)
        logger.log(level, message, *parts, exc_info=error)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.1f}s"
