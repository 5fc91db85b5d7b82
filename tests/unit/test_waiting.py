"""A part of a task that is ended early from outside."""

import asyncio

import pytest

from docket_core.worker.waiting import Interruptible

seen: list[str] = []
part = Interruptible()


@pytest.fixture(autouse=True)
def fresh() -> None:
    seen.clear()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def waiting(event: asyncio.Event) -> None:
    with part:
        await event.wait()
        seen.append("came")
    seen.append("went on")
    await asyncio.sleep(0)
    seen.append("to its end")


async def test_without_interruption_it_is_nothing() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(waiting(event))
    await turns()
    assert part.begun
    event.set()
    await task
    assert seen == ["came", "went on", "to its end"]
    assert not part.begun


async def test_the_task_goes_on_after_it() -> None:
    task = asyncio.create_task(waiting(asyncio.Event()))
    await turns()
    part.interrupt()
    part.interrupt()
    await task
    assert seen == ["went on", "to its end"]
    assert not task.cancelling()


async def test_together_with_what_was_waited_for() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(waiting(event))
    await turns()
    event.set()
    part.interrupt()
    await task
    assert seen == ["went on", "to its end"]


async def test_nobody_in_it_is_interrupted() -> None:
    part.interrupt()
    event = asyncio.Event()
    event.set()
    await waiting(event)
    part.interrupt()
    assert seen == ["came", "went on", "to its end"]


@pytest.mark.parametrize("order", ["cancelled first", "interrupted first", "cancelled only"])
async def test_who_cancels_the_task_is_heard(order: str) -> None:
    task = asyncio.create_task(waiting(asyncio.Event()))
    await turns()
    if order == "interrupted first":
        part.interrupt()
    task.cancel()
    if order == "cancelled first":
        part.interrupt()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == []
    assert task.cancelling() == 1


async def test_what_others_cancel_in_it_does_not_end_the_task() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def waits() -> None:
        with part:
            await future
        seen.append("went on")

    task = asyncio.create_task(waits())
    await turns()
    future.cancel()
    await task
    assert seen == ["went on"]


async def test_until_the_task_goes_on_it_says_that_it_is_ending() -> None:
    task = asyncio.create_task(waiting(asyncio.Event()))
    await turns()
    assert not part.is_ending
    part.interrupt()
    assert (part.is_ending, task.cancelling()) == (True, 1)
    await task
    assert not part.is_ending
