"""Standard tasks that every docket knows: to try a set-up, or a worker, without code of one's own."""

import asyncio
import logging
from typing import Annotated

from docket_core.annotations import Logged
from docket_core.functions import AnyFunction

logger = logging.getLogger("docket_core.tasks")


async def trace(message: Annotated[str, Logged()]) -> None:
    """Log a message."""
    logger.info("%s", message)


async def fail(message: Annotated[str, Logged()]) -> None:
    """Raise an exception with this message."""
    raise RuntimeError(message)


async def sleep(seconds: Annotated[float, Logged()]) -> None:
    """Sleep for so many seconds."""
    logger.info("sleeping for %s seconds", seconds)
    await asyncio.sleep(seconds)


standard_tasks: list[AnyFunction] = [trace, fail, sleep]
