"""The same tasks have the same history on every backend: what memory does, all do."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from docket_core import Disposition, Docket, Execution
from docket_core.testing import AutoClock
from tests.support import thirty
from tests.support.moments import SETTLE, passed
from tests.support.thirty import MINUTE, SECOND
from tests.support.urls import Store
from tests.support.workers import within, working

STEPS = [1] * 150 + [60] * 70
"""Seconds, a good hour together: small ones while much happens."""
TIED = "many ways"
"""Tasks that wait at several gates: order is promised within a gate, so which of them is which is not compared."""


class History:
    """What can be seen of a run of everything."""

    def __init__(self) -> None:
        self.notes: list[tuple[float, str, int, str]] = []
        """What bodies and hooks noted: seconds, key, attempt, text; by time and key, since more is not promised."""
        self.ends: dict[str, tuple[Any, ...]] = {}
        """By key: state, attempt, when it started and ended, result or failure."""
        self.dispositions: dict[str, str] = {}
        self.starts: dict[str, list[str]] = {}
        """By function of which the order is promised: its keys in the order of their starts."""


@asynccontextmanager
async def added(docket: Docket, history: History) -> AsyncGenerator[dict[str, Execution], None]:
    """Everything on the docket, each under a key that names it."""
    executions: dict[str, Execution] = {}

    async def add(function: Any, *args: Any, key: str | None = None, after: float = 0, **kwargs: Any) -> None:
        name = key or function.__name__
        when = timedelta(seconds=after) if after else None
        executions[name] = await docket.add(function, when=when, key=name)(*args, **kwargs)
        history.dispositions[name] = executions[name].disposition.value

    now = docket.clock.now()
    await add(thirty.plain, {"a": [1, (2,)]})
    await add(thirty.in_a_thread, 41)
    await add(thirty.surplus, 1, 2, three=3)
    for function in (
        thirty.nothing, thirty.large, thirty.too_large, thirty.failing, thirty.failing_stubbornly, thirty.leaving,
        thirty.cancelling_itself, thirty.unserialisable, thirty.doubling, thirty.picky, thirty.choosing,
        thirty.failing_chain, thirty.too_slow, thirty.extended, thirty.with_dependencies, thirty.without_dependencies,
        thirty.sharing,
    ):  # fmt: skip
        await add(function)
    await add(thirty.retried, 3, key="retried to success")
    await add(thirty.retried, 9, key="retried in vain", after=1)
    await add(thirty.steered, 1)
    await add(thirty.annotated_timeout, 30)
    await add(thirty.oriented, 7, after=2)
    await add(thirty.progressing, "halfway")
    for number in range(4):
        await add(thirty.one_per_value, number % 2, key=f"one per value {number}", after=number / 10)
        await add(thirty.two_at_a_time, number, key=f"two at a time {number}", after=number / 10)
        await add(thirty.annotated_limit, 1, key=f"annotated limit {number}", after=number / 10)
        await add(thirty.rated, key=f"rated {number}", after=10 + number / 10)
        await add(thirty.rated_and_dropped, key=f"dropped {number}", after=30 * number)
        await add(thirty.cooled, key=f"cooled {number}", after=25 * number)
        await add(thirty.settled, key=f"settled {number}", after=3.5 * number**2)
        await add(thirty.limited_in_many_ways, key=f"many ways {number}", after=number)
    await add(thirty.blocked, until=now + 25_000_000)
    await add(thirty.hooked, False, key="hooked well")
    await add(thirty.hooked, True, key="hooked badly")
    await add(thirty.plain, "never", key="cancelled", after=100)
    await add(thirty.plain, "first", key="replaced", after=100)
    await add(thirty.plain, "again", key="plain")
    await docket.cancel("cancelled")
    executions["replaced"] = await docket.replace(thirty.plain, 50 * SECOND, "replaced")("second")
    await docket.strike(thirty.plain, "value", "==", "struck")
    await add(thirty.plain, "struck", key="struck")
    del executions["struck"]
    await add(thirty.plain, "struck later", key="struck later", after=60)
    await docket.strike(thirty.plain, "value", "==", "struck later")
    yield executions


async def history_on(url: str, settle: float = 0.0) -> History:
    """Run everything on a store, for a good hour of its time."""
    history = History()
    thirty.notes.clear()
    async with (
        AutoClock(settle=settle) as clock,
        Docket("history", url, clock=clock, execution_ttl=timedelta(days=1)) as docket,
        added(docket, history) as executions,
    ):
        begun = clock.now()
        for task in thirty.tasks:
            docket.register(task)
        async with working(docket, name="the worker", concurrency=100):
            for step in STEPS:  # a store need not tell at once of what is due later than a worker looks again
                await within(passed(clock, step))

        def seconds(moment: datetime | None) -> float | None:
            return None if moment is None else round(moment.timestamp() - begun / 1_000_000, 3)

        for key, execution in executions.items():
            found = await docket.get_execution(key)
            assert found is not None
            moments = seconds(found.started_at), seconds(found.completed_at)
            if not key.startswith(TIED):
                history.ends[key] = (found.state.value, found.attempt, *moments, await outcome_of(execution))
        history.notes = sorted(
            (round((moment - begun) / 1_000_000, 3), TIED if key.startswith(TIED) else key, attempt, text)
            for moment, key, attempt, text in thirty.notes
        )
        for _, key, _, text in thirty.notes:
            for prefix in ("one per value", "two at a time", "annotated limit", "rated"):
                if key.startswith(prefix) and text != "ends":
                    history.starts.setdefault(prefix, []).append(key)
    return history


async def outcome_of(execution: Execution) -> str:
    """The result, or the failure in its first and last words."""
    try:
        result = repr(await execution.get_result(timeout=timedelta(0)))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        inner = getattr(error, "exceptions", ())
        return f"{type(error).__name__}: {lines[0][:60]} {lines[-1][:80]} {inner}"
    return result if len(result) < 200 else f"{len(result)} characters"


@pytest.fixture(scope="module")
def known() -> dict[str, History]:
    """Memory's history, once it has been made."""
    return {}


async def on_memory(known: dict[str, History]) -> History:
    if "memory" not in known:
        known["memory"] = await history_on("memory://same-history")
    return known["memory"]


def test_there_are_thirty_tasks() -> None:
    assert len({task.__name__ for task in thirty.tasks}) >= 30


@pytest.mark.requirement("R-084")
async def test_the_same_as_on_memory(store: Store, docket_url: str, known: dict[str, History]) -> None:
    expected = await on_memory(known)
    history = await history_on(docket_url, SETTLE.get(store.name, 0.0))
    assert history.dispositions == expected.dispositions
    assert difference(history.ends, expected.ends) == {}
    assert history.notes == expected.notes
    assert history.starts == expected.starts


def difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (one.get(key), two.get(key)) for key in one.keys() | two.keys() if one.get(key) != two.get(key)}


@pytest.mark.requirement("R-084")
async def test_memory_does_what_is_promised(known: dict[str, History]) -> None:
    """So that all being the same is not all being wrong."""
    history = await on_memory(known)
    states = {key: end[:2] for key, end in history.ends.items()}
    assert states["plain"] == ("completed", 1)
    assert history.ends["plain"][4] == "{'a': [1, (2,)]}"
    assert states["retried to success"] == ("completed", 3)
    assert states["retried in vain"] == ("failed", 3)
    assert states["too_slow"] == ("failed", 1)
    assert history.ends["too_slow"][2:4] == (0, 4)
    assert states["leaving"] == states["cancelling_itself"] == states["unserialisable"] == ("failed", 1)
    assert states["struck later"] == states["cancelled"] == ("cancelled", 1)
    assert history.dispositions["struck"] == Disposition.STRUCK.value
    assert history.ends["replaced"][4] == "'second'"
    moments = {key: [second for second, noted, _, _ in history.notes if noted == key] for key in states}
    assert moments["doubling"] == [0, 1, 3, 6]
    assert moments["choosing"] == [0, 11, 71]
    assert moments["failing_chain"] == [0, 1, 1801, 1802, 3602, 3603]
    assert [moments[f"rated {number}"] for number in range(4)] == [[10], [10.1], [70], [70.1]]
    assert [moments[f"dropped {number}"] for number in range(4)] == [[0], [], [60], []]
    assert [moments[f"cooled {number}"] for number in range(4)] == [[0], [], [], [75]]
    assert moments["hooked well"] == [0, 0]
    hours = [second for second, key, _, _ in history.notes if key == "hourly"]
    assert hours == [3600]
    assert [second for second, key, _, _ in history.notes if key == "beating"] == [0, 1200, 2400, 3600]
    assert history.starts["two at a time"] == [f"two at a time {number}" for number in range(4)]
    assert MINUTE == 60 * SECOND
