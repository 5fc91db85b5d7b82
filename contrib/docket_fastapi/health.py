"""Probes for whoever runs the application."""

from fastapi import APIRouter, Response
from fastapi.requests import HTTPConnection

from docket_fastapi.lifespan import app_docket


def health_router(prefix: str = "") -> APIRouter:
    """`/live` answers 200 as long as the event loop turns; `/ready` answers 200, or 503 if the worker beside the
    application could not claim lately, or, without one, the store does not answer.

    `app.include_router(health_router())`
    """
    router = APIRouter(prefix=prefix, include_in_schema=False)

    @router.get("/live")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/ready")
    async def ready(connection: HTTPConnection, response: Response) -> dict[str, str]:
        if await app_docket(connection).is_ready():
            return {"status": "ready"}
        response.status_code = 503
        return {"status": "not ready"}

    del live, ready  # the router has them
    return router
