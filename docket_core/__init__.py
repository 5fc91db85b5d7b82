"""docket-core: background tasks for Python functions, on the store of your choice."""

from docket_core.adding import TaskCall
from docket_core.annotations import Logged
from docket_core.docket import Docket
from docket_core.errors import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionSuperseded,
    ResultExpired,
)
from docket_core.execution import Disposition, Execution, ExecutionState
from docket_core.progress import ExecutionProgress
from docket_core.snapshot import DocketSnapshot, RunningExecution, WorkerInfo
from docket_core.strikelist import Operator, StrikeList
from docket_core.transaction import DocketTransaction

__all__ = [
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
    "Logged",
    "Operator",
    "ResultExpired",
    "RunningExecution",
    "StrikeList",
    "TaskCall",
    "WorkerInfo",
]
