"""A worker that knows many functions, in a file with few or many others."""

import pytest

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Task
from docket_core.backend.protocol import Backend
from docket_sqlite.claiming import FEW


@pytest.mark.parametrize("foreign", [0, 3, FEW - 2, FEW - 1, FEW, 3 * FEW])
async def test_every_function_that_was_asked_for_is_found(backend: Backend, foreign: int) -> None:
    asked = {f"mine{number:03}" for number in range(3 * FEW)}
    await backend.enqueue([Task(f"foreign{number}", f"foreign{number}", b"", "r") for number in range(foreign)])
    await backend.enqueue([Task("now", "mine090", b"", "r")])
    later = (await backend.schedule([Task("later", "mine091", b"", "r", delay=3600 * SECOND)]))[0]
    claimed = await backend.claim("w", asked, 100, 7200 * SECOND)
    assert [claim.key for claim in claimed.claims] == ["now"]
    assert claimed.next_at == later.when
    nothing = await backend.claim("w", asked, 0, SECOND)
    assert nothing.next_at == later.when, "a lease among many functions does not hide what is due"
