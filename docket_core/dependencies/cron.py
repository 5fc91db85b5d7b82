"""Tasks by the calendar."""

from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from cronsim import CronSim, CronSimError

from docket_core.backend.clock import from_micros
from docket_core.dependencies.base import TaskOutcome
from docket_core.dependencies.perpetual import Perpetual

if TYPE_CHECKING:
    from docket_core.execution import Execution

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def _check_zone(zone: object) -> None:
    if not isinstance(zone, tzinfo):
        raise TypeError(f"`tz` is given as a time zone, such as ZoneInfo('Europe/Paris'), not as {zone!r}")


class Cron(Perpetual):
    """Runs a task at the times that a cron expression names: `Cron("0 9 * * MON-FRI", tz=ZoneInfo("Europe/Paris"))`.

    When clocks are set forward, a job in the missing hour runs right after it; when they are set back, a job at a
    fixed hour runs once (as Debian's cron does; the rules are cronsim's). Times that pass while a run is late or
    long are left out: the next run is the next time from now.

    Args:
        expression: minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly, @yearly.
        automatic: workers put it on the docket by themselves, with the function's name as its key.
        tz: the time zone of the expression.

    Raises:
        ValueError: the expression cannot be read, or never comes true.
        TypeError: `tz` is no time zone.
    """

    def __init__(self, expression: str, automatic: bool = True, tz: tzinfo = UTC) -> None:
        super().__init__(automatic=automatic)
        _check_zone(tz)
        self.expression = expression
        self.tz = tz
        self._fields = _WORDS.get(expression.lower(), expression)
        if len(self._fields.split()) != 5:
            known = ", ".join(_WORDS)
            raise ValueError(f"{expression!r} has not the five fields of a cron expression, nor is it one of {known}")
        self.next_after(datetime.now(UTC))

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment` that the expression names, in UTC.

        Raises:
            ValueError: there is none.
        """
        try:
            return next(CronSim(self._fields, moment.astimezone(self.tz))).astimezone(UTC)
        except (CronSimError, StopIteration) as error:
            raise ValueError(
                f"the cron expression {self.expression!r} cannot be used: {error or 'no such time'}"
            ) from error

    def initial_due(self, now: datetime) -> datetime:
        return self.next_after(now)

    def _copy(self) -> "Cron":
        same = copy(self)  # without reading the expression again
        same._arguments = same._due = None
        same._cancelled = False
        return same

    def _next(self, execution: "Execution", outcome: TaskOutcome) -> datetime | timedelta:
        # by the store's clock, which claimed it, and never the time that this run was for
        begun = execution.started_at or from_micros(execution.docket.clock.now())
        return self.next_after(max(begun + outcome.duration, execution.when))
