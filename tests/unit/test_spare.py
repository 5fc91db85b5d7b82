"""A task that is made ahead does what one made at once would do."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context

import pytest

from docket_core.worker.spare import Spare

var = ContextVar("var", default="unset")
Done = list[tuple[int, str]]


@pytest.fixture
def done() -> Done:
    return []


@pytest.fixture
def spare(done: Done) -> Spare[int]:
    async def work(item: int) -> None:
        done.append((item, var.get()))
        var.set(f"by {item}")

    context = copy_context()
    context.run(var.set, "base")
    return Spare(work, context)


async def test_it_works_in_a_copy_of_the_context(spare: Spare[int], done: Done) -> None:
    """What one sets is not seen by the next."""
    for item in (1, 2):
        spare.prepare()
        spare.prepare()
        task = spare.use(item)
        assert task is not None
        await task
    assert done == [(1, "base"), (2, "base")]


async def test_it_begins_in_the_next_turn(spare: Spare[int], done: Done) -> None:
    spare.prepare()
    await asyncio.sleep(0)
    spare.use(1)
    assert not done
    await asyncio.sleep(0)
    assert done


async def test_there_may_be_none(spare: Spare[int]) -> None:
    """Nothing was prepared, or it has been used."""
    assert spare.use(1) is None
    spare.prepare()
    assert spare.use(2) is not None
    assert spare.use(3) is None


def others() -> set["asyncio.Task[object]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def cancel_all(spare: Spare[int]) -> None:
    del spare
    for task in others():
        task.cancel()


@pytest.mark.parametrize("end", [Spare[int].close, cancel_all], ids=["closed", "cancelled by others"])
@pytest.mark.parametrize("later", [0, 1])
@pytest.mark.parametrize("turns", [0, 1])
async def test_one_that_was_ended_is_not_used(
    spare: Spare[int], done: Done, end: Callable[[Spare[int]], None], turns: int, later: int
) -> None:
    """Before its first step, or while it waits, and before it has seen that; another one can be prepared."""
    spare.prepare()
    for _ in range(turns):
        await asyncio.sleep(0)
    end(spare)
    for _ in range(later):
        await asyncio.sleep(0)
        assert not others()
    assert spare.use(1) is None
    spare.prepare()
    task = spare.use(2)
    assert task is not None
    await task
    assert done == [(2, "base")]


async def test_it_keeps_nothing(spare: Spare[int]) -> None:
    """What it was used for is let go."""
    spare.prepare()
    task = spare.use(1)
    assert task is not None
    await task
    assert not any(isinstance(value, asyncio.Future) for value in vars(spare).values())
