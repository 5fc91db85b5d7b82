"""docket-core in a FastAPI application: `pip install docket-core[fastapi]`; docs/fastapi.md shows how."""

try:
    from docket_fastapi.dependencies import DocketDep, ExecutionDep, docket_transaction, get_docket, get_execution
    from docket_fastapi.events import EventStream
    from docket_fastapi.health import health_router
    from docket_fastapi.lifespan import AppDocket, docket_lifespan
except ModuleNotFoundError as error:
    if error.name != "fastapi":
        raise
    message = "docket_fastapi stands on FastAPI, which is not installed; run: pip install 'docket-core[fastapi]'"
    raise ModuleNotFoundError(message, name="fastapi") from error

__all__ = [
    "AppDocket",
    "DocketDep",
    "EventStream",
    "ExecutionDep",
    "docket_lifespan",
    "docket_transaction",
    "get_docket",
    "get_execution",
    "health_router",
]
