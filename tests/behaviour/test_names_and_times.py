"""Cases 10 and 11: hostile names are taken verbatim or refused, and every moment means what it says."""

import unicodedata
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from docket_core import Disposition, Docket, ExecutionState
from docket_core.backend.clock import ManualClock, to_micros
from docket_core.errors import ConfigurationError, InvalidInput, InvalidKey
from tests.support.workers import until, within, work_off, working

TAKEN = [
    "docket",
    "docket:orders:runs:k",
    "{orders}:stream",
    "stream",
    "docket_tasks",
    "sqlite_master",
    "key with spaces",
    "a:b{c}d%41e'f\"g;h\\i--*?[j]",
    "%",
    "%s %(key)s {0} $1 :name ?",
    "\u200fright to left\u202e",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "🦆" * 128,
    "k" * 512,
    "K" * 512,
    "null",
    "0",
    "../../etc/passwd",
    "'; DROP TABLE docket_tasks; --",
]
REFUSED = ["", "k" * 513, "é" * 257, "\ud800", "a\x00b", "line\nbreak", "\ttab", "\x7f", "\x85"]
echoes: list[str] = []


async def echo(text: str) -> str:
    echoes.append(text)
    return text


async def test_case_10_keys_are_taken_verbatim_and_told_apart(docket: Docket, other: Docket) -> None:
    executions = [await docket.add(echo, key=key)(key) for key in TAKEN]
    assert {execution.disposition for execution in executions} == {Disposition.SCHEDULED}
    snapshot = await other.snapshot()
    assert sorted(execution.key for execution in snapshot.future) == sorted(TAKEN)
    await work_off(docket)
    for key in TAKEN:
        found = await other.get_execution(key)
        assert found is not None
        assert (found.key, await found.get_result()) == (key, key)
        assert await docket.cancel(key) == "gone"


@pytest.mark.parametrize("key", REFUSED)
async def test_case_10_what_is_no_key_is_refused_before_anything_is_written(docket: Docket, key: str) -> None:
    with pytest.raises(InvalidKey):
        await docket.add(echo, key=key)("x")
    with pytest.raises(InvalidKey):
        await docket.replace(echo, None, key)("x")
    with pytest.raises(InvalidKey):
        await docket.cancel(key)
    many = await docket.add_many([docket.call(echo, key=key)("x"), docket.call(echo, key="fine")("y")])
    assert [item.disposition for item in many] == [Disposition.FAILED, Disposition.SCHEDULED]
    assert (await docket.snapshot()).total_tasks == 1


async def test_case_10_two_dockets_never_see_one_another(docket_url: str) -> None:
    names = [name for name in TAKEN if len(name.encode()) <= 512]
    opened = [Docket(name, docket_url) for name in names]
    for docket in opened:
        await docket.__aenter__()
    try:
        for docket in opened:
            await docket.add(echo, key="k")(docket.name)
            await docket.strike("echo", "text", "==", "struck on " + docket.name)
        for docket in opened:
            snapshot = await docket.snapshot()
            assert [execution.args for execution in snapshot.future] == [(docket.name,)]
            await within(docket.wait_for_strikes_loaded())
            await until(lambda docket=docket: len(docket.strike_list.strikes) == 1)  # type: ignore[misc]
        assert await opened[0].clear() == 1
        assert [(await docket.snapshot()).total_tasks for docket in opened] == [0] + [1] * (len(opened) - 1)
    finally:
        for docket in opened:
            await docket.__aexit__(None, None, None)


async def test_case_10_function_names_that_are_hostile_work(docket: Docket) -> None:
    names = [name for name in TAKEN if name != "docket"]
    docket.register(echo, names=names)
    for name in names:
        await docket.add(name)(name)
    await work_off(docket)
    assert sorted(echoes[-len(names) :]) == sorted(names)


async def test_case_11_naive_datetimes_are_refused(docket: Docket) -> None:
    naive = datetime(2030, 1, 1)  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        await docket.add(echo, when=naive)("x")
    with pytest.raises(ValueError, match="time zone"):
        await docket.replace(echo, naive, "k")("x")
    many = await docket.add_many([docket.call(echo, when=naive)("x"), docket.call(echo)("y")])
    assert [item.disposition for item in many] == [Disposition.FAILED, Disposition.SCHEDULED]
    assert "time zone" in str(many[0].error)


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "when",
    [
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2096, 2, 29, tzinfo=UTC),
        datetime(2100, 3, 28, 2, 30, tzinfo=BERLIN),
        datetime(2099, 10, 25, 2, 30, fold=0, tzinfo=BERLIN),
        datetime(2099, 10, 25, 2, 30, fold=1, tzinfo=BERLIN),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    ],
)
async def test_case_11_every_moment_to_come_is_kept_to_the_microsecond(docket: Docket, when: datetime) -> None:
    execution = await docket.add(echo, when=when)("x")
    found = await docket.get_execution(execution.key)
    assert found is not None
    assert (found.when, found.state) == (when.astimezone(UTC), ExecutionState.SCHEDULED)


@pytest.mark.parametrize("when", [datetime(1969, 7, 20, 20, 17, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)])
async def test_case_11_a_moment_that_is_past_is_due_now(docket: Docket, when: datetime) -> None:
    execution = await docket.add(echo, when=when)("past")
    assert execution.when == when
    await work_off(docket)
    assert await execution.get_result() == "past"


async def test_case_11_the_two_halves_past_two_of_an_autumn_night_are_an_hour_apart(docket: Docket) -> None:
    first = await docket.add(echo, when=datetime(2099, 10, 25, 2, 30, fold=0, tzinfo=BERLIN))("x")
    second = await docket.add(echo, when=datetime(2099, 10, 25, 2, 30, fold=1, tzinfo=BERLIN))("x")
    assert second.when - first.when == timedelta(hours=1)


@pytest.mark.parametrize("delay", [timedelta.max, timedelta(days=365 * 9000)])
async def test_case_11_a_delay_beyond_the_calendar_is_refused(docket: Docket, delay: timedelta) -> None:
    with pytest.raises(InvalidInput, match="9999"):
        await docket.add(echo, when=delay)("x")
    many = await docket.add_many([docket.call(echo, when=delay)("x"), docket.call(echo)("y")])
    assert [item.disposition for item in many] == [Disposition.FAILED, Disposition.SCHEDULED]


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(seconds=-5), timedelta(days=-300_000)])
async def test_case_11_a_delay_that_is_over_is_due_now(docket: Docket, delay: timedelta) -> None:
    execution = await docket.add(echo, when=delay)("now")
    await work_off(docket)
    assert await execution.get_result() == "now"


async def test_case_11_nothing_starts_early(timed: Docket, clock: ManualClock) -> None:
    early: list[int] = []

    async def due(moment: int) -> None:
        if clock.now() < moment:
            early.append(moment)
        echoes.append(str(moment))

    echoes.clear()
    start = clock.now()
    async with working(timed):
        for step in range(1, 6):
            await timed.add(due, when=timedelta(seconds=step))(start + step * 1_000_000)
        for step in range(1, 6):
            clock.set(start + step * 1_000_000 - 1)
            await within(timed.snapshot())
            assert len(echoes) == step - 1
            clock.set(start + step * 1_000_000)
            await until(lambda step=step: len(echoes) == step)  # type: ignore[misc]
    assert early == []


async def test_case_11_a_worker_whose_clock_is_an_hour_off_starts_nothing_early(docket_url: str) -> None:
    """The store's clock decides; the worker's own timers only say when it looks."""

    class HourAhead(ManualClock):
        """What the worker's machine shows; its store runs on time."""

    store_clock = ManualClock()
    async with Docket("clocks", docket_url, clock=store_clock) as docket:

        class Ahead(Docket):
            @property
            def clock(self) -> ManualClock:
                return HourAhead(store_clock.now() + to_micros(timedelta(hours=1)))

        async with Ahead("clocks", docket_url, clock=store_clock) as ahead:
            ahead.register(echo)
            execution = await docket.add(echo, when=timedelta(minutes=30))("on time")
            async with working(ahead) as worker:
                await within(worker.has_claimed())
                await execution.sync()
                assert execution.state is ExecutionState.SCHEDULED
                store_clock.advance(timedelta(minutes=30))
                await until(lambda: echoes[-1:] == ["on time"])


async def test_a_number_is_no_time_and_nothing_was_written(docket: Docket) -> None:
    for wrong in (5, "tomorrow"):
        with pytest.raises(TypeError, match="a time is given as"):
            await docket.add(echo, when=wrong, key="k")("text")  # type: ignore[call-overload, arg-type, unused-ignore]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert await docket.get_execution("k") is None


def test_a_url_in_the_place_of_a_name_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match=r"write Docket\(url=") as refused:
        Docket("postgresql://me:secret@localhost/shop")
    assert "secret" not in str(refused.value)
