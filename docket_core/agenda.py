"""Many calls, spread over a stretch of time."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, overload

from docket_core.adding import TaskCall
from docket_core.docket import Docket
from docket_core.execution import Execution
from docket_core.functions import AnyFunction

P = ParamSpec("P")


class Agenda:
    """Collects calls, and puts them on a docket all at once, at times that are spread evenly.

    `agenda.add(send)("ann@example.com")` … `await agenda.scatter(docket, over=timedelta(hours=1))`
    """

    def __init__(self) -> None:
        self._calls: list[tuple[AnyFunction | str, tuple[Any, ...], dict[str, Any], str | None]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[tuple[AnyFunction | str, tuple[Any, ...], dict[str, Any]]]:
        """Function, arguments and keyword arguments of every call."""
        return ((function, args, kwargs) for function, args, kwargs, _ in self._calls)

    @overload
    def add(self, function: Callable[P, Any], key: str | None = None) -> Callable[P, None]: ...

    @overload
    def add(self, function: str, key: str | None = None) -> Callable[..., None]: ...

    def add(self, function: AnyFunction | str, key: str | None = None) -> Callable[..., None]:
        """Write down a call.

        Args:
            function: the function, or the name of one that is registered with the docket.
            key: as in `Docket.add`.
        """

        def written(*args: Any, **kwargs: Any) -> None:
            self._calls.append((function, args, kwargs, key))

        return written

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()

    async def scatter(
        self,
        docket: Docket,
        over: timedelta,
        start: datetime | None = None,
        jitter: timedelta | None = None,
    ) -> list[Execution]:
        """Put the calls on the docket: the first at `start`, the last at `start + over`, the others between.

        All go in one batched round trip; the agenda keeps its calls.

        Args:
            docket: where to.
            over: how long the stretch is.
            start: an aware datetime; None is the store's now.
            jitter: move each time by a random amount of up to this, either way, but not before `start`.

        Raises:
            ValueError: a stretch that is not positive, a negative jitter, or a naive `start`.
            KeyError, TypeError: a call that the docket cannot take; nothing was put on it.
        """
        if over <= timedelta(0):
            raise ValueError(f"tasks are scattered over a positive time, not {over}")
        if jitter is not None and jitter < timedelta(0):
            raise ValueError(f"a jitter is not negative, as {jitter} is")
        if start is not None and start.tzinfo is None:
            raise ValueError(f"{start!r} has no time zone; use an aware datetime, such as datetime.now(UTC)")
        calls: list[TaskCall] = []
        for position, (function, args, kwargs, key) in enumerate(self._calls):
            delay = over * (position / max(1, len(self._calls) - 1))
            if jitter is not None:
                delay = max(timedelta(0), delay + jitter * random.uniform(-1, 1))
            when = delay if start is None else start.astimezone(UTC) + delay
            calls.append(docket.call(function, when=when, key=key)(*args, **kwargs))
        return await docket.add_many(calls)
