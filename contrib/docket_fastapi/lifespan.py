"""A docket, and if wanted a worker, that live as long as the application."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.requests import HTTPConnection

from docket_core import Docket, Worker
from docket_core.errors import BackendError
from docket_core.functions import AnyFunction
from docket_core.worker.entry import WorkerOptions

logger = logging.getLogger("docket_fastapi")

STATE = "docket_fastapi"
"""Where the lifespan's state holds the `AppDocket`."""
PROBE = "docket_fastapi readiness"
ANSWER_WITHIN = 2.0
"""How long the store may take to answer the question whether all is well, in seconds."""

AppLifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any] | None]]


class AppDocket:
    """The docket of an application, and the worker beside it, if there is one."""

    def __init__(self, docket: Docket, worker: Worker | None) -> None:
        self.docket = docket
        self.worker = worker

    async def is_ready(self) -> bool:
        """Whether the worker could claim lately; without a worker, whether the store answers."""
        if self.worker is not None:
            return self.worker.is_ready()
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self.docket.get_execution(PROBE)
        except (BackendError, TimeoutError):
            return False
        return True


def docket_lifespan(
    docket: Docket | Callable[[], Docket],
    *,
    worker: bool | WorkerOptions = False,
    tasks: Iterable[AnyFunction | str] = (),
    lifespan: AppLifespan | None = None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """Open a docket with the application: `FastAPI(lifespan=docket_lifespan(Docket("shop"), worker=True))`.

    The order is: the docket, then the application's own lifespan, then the worker; and back. So what tasks use may be
    opened in `lifespan`, which may put tasks on the docket. At the end the worker takes no more tasks and lets those
    that run end, within its `shutdown_grace`; a server that does not wait for that cuts it short, and what runs is
    given back. Signals are left to the server. A worker that dies is logged, and the application is not ready.

    Args:
        docket: not yet open, or a function that makes it when the application starts.
        worker: run one beside the application, as it is or with these options of `docket_core.Worker`.
        tasks: what to register: functions, or paths of collections, `package.module:attribute`.
        lifespan: the application's own; the state it yields is kept.
    """
    chosen = list(tasks)

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        made = docket if isinstance(docket, Docket) else docket()
        for task in chosen:
            if isinstance(task, str):
                made.register_collection(task)
            else:
                made.register(task)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(made)
            state = AppDocket(made, _worker(made, worker))
            own = await stack.enter_async_context(lifespan(app)) if lifespan is not None else None
            if state.worker is not None:
                await stack.enter_async_context(_running(state.worker))
            yield {**(own or {}), STATE: state}

    return opened


def app_docket(connection: HTTPConnection) -> AppDocket:
    """The docket of the application that serves this request.

    Raises:
        RuntimeError: the application has none.
    """
    found: AppDocket | None = getattr(connection.state, STATE, None)
    if found is None:
        raise RuntimeError("this application has no docket; start it with FastAPI(lifespan=docket_lifespan(…))")
    return found


def _worker(docket: Docket, wanted: bool | WorkerOptions) -> Worker | None:
    if wanted is False:
        return None
    return Worker(docket) if wanted is True else Worker(docket, **wanted)


@asynccontextmanager
async def _running(worker: Worker) -> AsyncGenerator[None, None]:
    running = asyncio.create_task(_run(worker), name="docket worker beside the application")
    try:
        yield
    except BaseException:  # cancelled, or a failed start: nobody waits for a drain
        worker.stop()
        raise
    finally:
        worker.stop()
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            worker.stop()
            await asyncio.wait([running])
            raise


async def _run(worker: Worker) -> None:
    try:
        async with worker:
            await worker.run_forever()
    except Exception:
        logger.exception("worker %s has died; the application is not ready any more", worker.name)
