"""docket-core: background tasks for Python functions, on the store of your choice."""

from docket_core.adding import TaskCall
from docket_core.agenda import Agenda
from docket_core.annotations import Logged
from docket_core.codec import CloudpickleCodec, JsonCodec
from docket_core.dependencies import (
    AdmissionBlocked,
    CallArgument,
    CompletionHandler,
    ConcurrencyLimit,
    Cooldown,
    Cron,
    CurrentDocket,
    CurrentExecution,
    CurrentWorker,
    Debounce,
    Dependency,
    Depends,
    ExponentialRetry,
    FailureHandler,
    Perpetual,
    Progress,
    RateLimit,
    Retry,
    Runtime,
    Shared,
    TaskArgument,
    TaskKey,
    TaskLogger,
    TaskOutcome,
    Timeout,
)
from docket_core.docket import Docket
from docket_core.errors import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSuperseded,
    ResultExpired,
)
from docket_core.execution import Disposition, Execution, ExecutionState
from docket_core.progress import ExecutionProgress
from docket_core.signing import signed
from docket_core.snapshot import DocketSnapshot, RunningExecution, WorkerInfo
from docket_core.strikelist import StrikeList
from docket_core.strikes import Operator
from docket_core.transaction import DocketTransaction
from docket_core.worker import Worker

__all__ = [
    "AdmissionBlocked",
    "Agenda",
    "CallArgument",
    "CloudpickleCodec",
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
    "Disposition",
    "Docket",
    "DocketSnapshot",
    "DocketTransaction",
    "Execution",
    "ExecutionCancelled",
    "ExecutionFailed",
    "ExecutionProgress",
    "ExecutionState",
    "ExecutionSuperseded",
    "ExponentialRetry",
    "FailureHandler",
    "JsonCodec",
    "Logged",
    "Operator",
    "Perpetual",
    "Progress",
    "RateLimit",
    "ResultExpired",
    "Retry",
    "RunningExecution",
    "Runtime",
    "Shared",
    "StrikeList",
    "TaskArgument",
    "TaskCall",
    "TaskKey",
    "TaskLogger",
    "TaskOutcome",
    "Timeout",
    "Worker",
    "WorkerInfo",
    "signed",
]
