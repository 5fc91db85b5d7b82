"""Many calls at once: their order, their errors, their round trips."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from docket_core import Agenda, Disposition, Docket, Execution, TaskCall
from docket_core.adding import MANY
from docket_core.backend.model import Enqueued, OnConflict, Task
from docket_core.backend.observed import ObservedBackend
from docket_core.backend.protocol import Backend
from docket_core.testing import assert_no_tasks, pending_tasks
from tests.support.counting import CountingClock
from tests.support.workers import work_off

HOUR = timedelta(hours=1)
ran: list[int] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


async def number(value: int) -> int:
    ran.append(value)
    return value


@pytest.mark.requirement("R-008")
async def test_a_call_touches_nothing(counted: Docket, counting: CountingClock) -> None:
    before = counting.calls.total()
    call = counted.call(number, when=HOUR, key="later")(7)
    assert call == TaskCall("number", (7,), {}, "later", HOUR)
    assert counting.calls.total() == before
    await assert_no_tasks(counted)


@pytest.mark.requirement("R-009")
async def test_results_come_in_the_order_of_the_calls(docket: Docket) -> None:
    executions = await docket.add_many(docket.call(number)(value) for value in range(10))
    await work_off(docket, concurrency=1)
    assert [await execution.get_result() for execution in executions] == list(range(10))
    assert ran == list(range(10))


@pytest.mark.requirement("R-009")
async def test_an_empty_batch_is_no_round_trip(counted: Docket, counting: CountingClock) -> None:
    before = counting.calls.total()
    assert await counted.add_many([]) == []
    assert counting.calls.total() == before


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("not for export")


@pytest.mark.requirement("R-009")
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (TaskCall("number", (1,), key="k" * 513), "513 bytes"),
        (TaskCall("number", (1,), key=""), "the key is empty"),
        (TaskCall("number", (Unpicklable(),)), "cannot be encoded by the cloudpickle codec: TypeError: not for export"),
        (TaskCall("number", ("x" * 2_000_000,)), "at most 1,048,576 are taken"),
        (TaskCall("number", (1, 2, 3)), "does not take this call"),
        (TaskCall("number", (1,), when=datetime(2030, 1, 1)), "has no time zone"),  # noqa: DTZ001 - that is the point
        (TaskCall("nobody", (1,)), "no function is registered as 'nobody'"),
    ],
)
async def test_what_is_wrong_with_one_is_that_ones_affair(docket: Docket, bad: TaskCall, why: str) -> None:
    docket.register(number)
    first, refused, last = await docket.add_many([docket.call(number)(1), bad, docket.call(number)(2)])
    assert (first.disposition, last.disposition) == (Disposition.SCHEDULED, Disposition.SCHEDULED)
    assert refused.disposition is Disposition.FAILED
    assert refused.error is not None
    assert why in refused.error
    await work_off(docket)
    assert ran == [1, 2]


@pytest.mark.requirement("R-009")
async def test_dispositions_of_a_mixed_batch(docket: Docket) -> None:
    await docket.strike(number, "value", ">", 100)
    await docket.add(number, key="taken")(0)
    executions = await docket.add_many(
        [
            docket.call(number, key="taken")(1),
            docket.call(number)(101),
            docket.call(number, key="twice")(2),
            docket.call(number, key="twice")(3),
        ]
    )
    assert [execution.disposition.value for execution in executions] == [
        "already_scheduled",
        "struck",
        "scheduled",
        "already_scheduled",
    ]
    await work_off(docket)
    assert sorted(ran) == [0, 2]


@pytest.mark.requirement("R-009", "R-007")
async def test_replace_many(docket: Docket) -> None:
    await docket.add(number, key="one", when=HOUR)(1)
    replaced, added, keyless = await docket.replace_many(
        [docket.call(number, key="one")(10), docket.call(number, key="two")(20), docket.call(number)(30)]
    )
    assert (replaced.disposition, added.disposition) == (Disposition.SCHEDULED, Disposition.SCHEDULED)
    assert keyless.disposition is Disposition.FAILED
    assert keyless.error == "a call for replace_many needs a key"
    await work_off(docket)
    assert sorted(ran) == [10, 20]


@pytest.mark.requirement("R-010")
@pytest.mark.usefixtures("untraced")
async def test_five_thousand_go_out_in_a_few_round_trips(counted: Docket, counting: CountingClock) -> None:
    before = counting.calls["enqueue"]
    executions = await counted.add_many(counted.call(number)(value) for value in range(5000))
    assert counting.calls["enqueue"] - before == 5000 / MANY
    assert {execution.disposition for execution in executions} == {Disposition.SCHEDULED}
    assert len({execution.key for execution in executions}) == 5000
    assert (await counted.snapshot()).total_tasks == 5000
    assert await counted.clear() == 5000


@pytest.mark.requirement("R-010")
async def test_concurrent_adds_share_round_trips(docket_url: str) -> None:
    async with Faraway("counted", docket_url) as docket:
        executions = await asyncio.gather(*(docket.add(number)(value) for value in range(100)))
        assert docket.trips <= 2
        assert [execution.disposition for execution in executions] == [Disposition.SCHEDULED] * 100
        await work_off(docket, concurrency=1)
        assert ran == list(range(100))


class Faraway(Docket):
    """On a store that answers no sooner than the next turn of the loop, as any store with a connection."""

    trips = 0

    def open_backend(self) -> Backend:
        return _Faraway(super().open_backend(), self)


class _Faraway(ObservedBackend):
    def __init__(self, inner: Backend, docket: Faraway) -> None:
        super().__init__(inner)
        self._docket = docket

    async def enqueue(self, tasks: Sequence[Task], on_conflict: OnConflict = OnConflict.KEEP) -> Sequence[Enqueued]:
        self._docket.trips += 1
        await asyncio.sleep(0)
        return await super().enqueue(tasks, on_conflict)


@pytest.mark.requirement("R-010", "R-009")
async def test_an_error_among_concurrent_adds_reaches_only_its_own(docket: Docket) -> None:
    results = await asyncio.gather(
        *(docket.add(number, key=key)(1) for key in ("a", "k" * 513, "b")), return_exceptions=True
    )
    assert isinstance(results[0], Execution)
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], Execution)


@pytest.mark.requirement("R-068")
def test_an_agenda_collects() -> None:
    agenda = Agenda()
    agenda.add(number)(1)
    agenda.add(number, key="two")(value=2)
    agenda.add("later")(3, x=4)
    assert len(agenda) == 3
    assert list(agenda) == [(number, (1,), {}), (number, (), {"value": 2}), ("later", (3,), {"x": 4})]
    agenda.clear()
    assert len(agenda) == 0
    assert list(agenda) == []


@pytest.mark.requirement("R-069")
async def test_scatter_spreads_evenly_in_one_round_trip(counted: Docket, counting: CountingClock) -> None:
    start = datetime(2031, 1, 1, tzinfo=UTC)
    agenda = Agenda()
    for value in range(5):
        agenda.add(number, key=f"number {value}")(value)
    before = counting.calls.total()
    executions = await agenda.scatter(counted, over=HOUR, start=start)
    assert counting.calls.total() - before == 1
    assert [execution.when for execution in executions] == [start + value * HOUR / 4 for value in range(5)]
    assert [execution.key for execution in executions] == [f"number {value}" for value in range(5)]
    assert len(agenda) == 5, "it keeps its calls"


@pytest.mark.requirement("R-069")
async def test_scatter_from_now_goes_by_the_stores_clock(moving: Docket) -> None:
    agenda = Agenda()
    for value in range(3):
        agenda.add(number)(value)
    begun = moving.clock.now()
    executions = await agenda.scatter(moving, over=HOUR)
    assert [execution.when.timestamp() * 1_000_000 - begun for execution in executions] == [0, 1.8e9, 3.6e9]
    assert all(isinstance(call.when, timedelta) for call in [moving.call(number, when=HOUR)(1)])
    await work_off(moving)
    assert ran == [0, 1, 2]


@pytest.mark.requirement("R-069")
async def test_jitter_moves_each_time_but_not_before_the_start(docket: Docket) -> None:
    start = datetime(2031, 1, 1, tzinfo=UTC)
    agenda = Agenda()
    for value in range(50):
        agenda.add(number)(value)
    executions = await agenda.scatter(docket, over=HOUR, start=start, jitter=timedelta(minutes=1))
    moved = [execution.when - (start + position * HOUR / 49) for position, execution in enumerate(executions)]
    assert all(execution.when >= start for execution in executions)
    assert all(abs(by) <= timedelta(minutes=1) for by in moved)
    assert len(set(moved)) > 40


@pytest.mark.requirement("R-069")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"over": timedelta(0)}, "over a positive time"),
        ({"over": HOUR, "jitter": timedelta(seconds=-1)}, "a jitter is not negative"),
        ({"over": HOUR, "start": datetime(2031, 1, 1)}, "has no time zone"),  # noqa: DTZ001 - that is the point
    ],
)
async def test_a_scatter_that_makes_no_sense_is_refused(docket: Docket, options: dict[str, object], why: str) -> None:
    agenda = Agenda()
    agenda.add(number)(1)
    with pytest.raises(ValueError, match=why):
        await agenda.scatter(docket, **options)  # type: ignore[arg-type]
    await assert_no_tasks(docket)


@pytest.mark.requirement("R-069", "R-009")
async def test_a_call_that_does_not_fit_scatters_nothing(docket: Docket) -> None:
    agenda = Agenda()
    agenda.add(number)(1)
    agenda.add(number)()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing a required argument: 'value'"):
        await agenda.scatter(docket, over=HOUR)
    assert await pending_tasks(docket) == []
    empty = Agenda()
    assert await empty.scatter(docket, over=HOUR) == []
