"""docket-core: background tasks for Python functions, on the store of your choice.

Each name loads its module when it is first asked for: a program that only adds tasks loads no worker, and a backend
loads nothing but the seam.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_PLACES = {
    "docket_core.adding": ["TaskCall"],
    "docket_core.agenda": ["Agenda"],
    "docket_core.annotations": ["Logged"],
    "docket_core.codec": ["CloudpickleCodec", "JsonCodec"],
    "docket_core.docket": ["Docket"],
    "docket_core.errors": ["ExecutionCancelled", "ExecutionFailed", "ExecutionSuperseded", "ResultExpired"],
    "docket_core.execution": ["Disposition", "Execution", "ExecutionState"],
    "docket_core.progress": ["ExecutionProgress"],
    "docket_core.signing": ["signed"],
    "docket_core.snapshot": ["DocketSnapshot", "RunningExecution", "WorkerInfo"],
    "docket_core.strikelist": ["StrikeList"],
    "docket_core.strikes": ["Operator"],
    "docket_core.transaction": ["DocketTransaction"],
    "docket_core.worker": ["Worker"],
}
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}
"""All other public names are dependencies."""

if not TYPE_CHECKING:  # who checks types sees the imports above, and that there are no other names

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'docket_core' has no attribute {name!r}")
        value = getattr(import_module(_PLACE_OF.get(name, "docket_core.dependencies")), name)
        globals()[name] = value  # asked for once
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
