"""What a task function may declare beside its arguments; built on the `uncalled-for` library."""

from uncalled_for import CallArgument, Dependency, Depends, Shared

from docket_core.dependencies.admission import ConcurrencyLimit, Cooldown, Debounce, RateLimit
from docket_core.dependencies.base import (
    AdmissionBlocked,
    CompletionHandler,
    FailureHandler,
    Runtime,
    TaskOutcome,
    current_docket,
    current_execution,
    current_worker,
)
from docket_core.dependencies.context import (
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    TaskArgument,
    TaskKey,
    TaskLogger,
)
from docket_core.dependencies.cron import Cron
from docket_core.dependencies.perpetual import Perpetual
from docket_core.dependencies.progress import Progress
from docket_core.dependencies.retry import ExponentialRetry, ForcedRetry, Retry
from docket_core.dependencies.timeout import Timeout

__all__ = [
    "AdmissionBlocked",
    "CallArgument",
    "CompletionHandler",
    "ConcurrencyLimit",
    "Cooldown",
    "Cron",
    "CurrentDocket",
    "CurrentExecution",
    "CurrentWorker",
    "Debounce",
    "Dependency",
    "Depends",
    "ExponentialRetry",
    "FailureHandler",
    "ForcedRetry",
    "Perpetual",
    "Progress",
    "RateLimit",
    "Retry",
    "Runtime",
    "Shared",
    "TaskArgument",
    "TaskKey",
    "TaskLogger",
    "TaskOutcome",
    "Timeout",
    "current_docket",
    "current_execution",
    "current_worker",
]
