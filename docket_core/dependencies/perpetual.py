"""Tasks that go on: the end of one run and the birth of the next are one step."""

import inspect
from datetime import datetime, timedelta
from typing import Any

from docket_core.backend.clock import check_kind, to_micros
from docket_core.dependencies.base import CompletionHandler, TaskOutcome
from docket_core.errors import CodecError, ConfigurationError, PayloadTooLarge
from docket_core.execution import Execution
from docket_core.logs import get_logger

logger = get_logger("docket_core.worker")


class Perpetual(CompletionHandler["Perpetual"]):
    """Runs a task again under the same key after every end, success or final failure.

    `async def poll(perpetual: Perpetual = Perpetual(every=timedelta(minutes=5))) -> None`

    Args:
        every: from the start of one run to the start of the next; a run that took longer is followed at once.
        automatic: workers put it on the docket by themselves, with the function's name as its key.

    Raises:
        ValueError: `every` is negative.
    """

    def __init__(self, every: timedelta = timedelta(0), automatic: bool = False) -> None:
        check_kind("`every`", every)
        if every < timedelta(0):
            raise ValueError(f"`every` is not negative, as {every} is")
        self.every = every
        self.automatic = automatic
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._cancelled = False
        self._due: datetime | timedelta | None = None

    def check_declared(self, name: str, signature: inspect.Signature, parameter: str | None) -> None:
        """Refuse an automatic task that cannot be called without arguments.

        Raises:
            ConfigurationError: it names what is missing.
        """
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = [p.name for p in signature.parameters.values() if p.default is p.empty and p.kind not in kinds]
        if self.automatic and parameter is None and needed:
            raise ConfigurationError(
                f"{name} is put on the docket by workers, which give it no arguments, but needs {', '.join(needed)}: "
                f"give it a default, or write {type(self).__name__}(…, automatic=False) and add it yourself"
            )

    def initial_due(self, now: datetime) -> datetime | None:
        """When the first run of an automatic task is due, seen from `now`; None is at once."""
        del now
        return None

    async def __aenter__(self) -> "Perpetual":
        return self._copy()

    def _copy(self) -> "Perpetual":
        return Perpetual(self.every, self.automatic)

    def cancel(self) -> None:
        """Let this run be the last. An automatic task comes back with the next seeding; a strike stops it."""
        self._cancelled = True

    def perpetuate(self, *args: Any, **kwargs: Any) -> None:
        """Give the next run these arguments."""
        self._arguments = (args, kwargs)

    def after(self, delay: timedelta) -> None:
        """Let the next run be due so long after this one's end."""
        self._due = delay

    def at(self, when: datetime) -> None:
        """Let the next run be due at `when`, an aware datetime.

        Raises:
            ValueError: `when` is naive.
        """
        to_micros(when)
        self._due = when

    async def on_complete(self, execution: Execution, outcome: TaskOutcome) -> bool:
        """Record the next run. A failure is logged each time, so it is not called handled."""
        if self._cancelled:
            return False
        given = execution.args, execution.kwargs
        try:
            await self._record(execution, outcome, *(self._arguments or given))
        except (CodecError, PayloadTooLarge) as error:
            logger.error("%r goes on with the arguments it had: %s", execution.key, error)  # noqa: TRY400
            await self._record(execution, outcome, *given)
        return outcome.exception is None

    async def _record(
        self, execution: Execution, outcome: TaskOutcome, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        due = self._due if self._due is not None else self._next(execution, outcome)
        name = execution.function_name
        successor = Execution(
            execution.docket, execution.function, args, kwargs, execution.key, due, function_name=name
        )
        successor.grant = execution.grant
        await successor.schedule(replace=True)

    def _next(self, execution: Execution, outcome: TaskOutcome) -> datetime | timedelta:
        del execution
        return max(timedelta(0), self.every - outcome.duration)
