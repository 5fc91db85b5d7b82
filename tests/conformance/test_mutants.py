"""Each deliberately broken backend is caught by the requirements it breaks, and the sound one meets them all."""

import re
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from docket_core.backend.clock import ManualClock, Micros
from docket_core.backend.states import Stage, Trigger
from docket_core.conformance import suite
from docket_core.conformance.subject import Patience, Subject
from docket_core.conformance.test_history import History, profile
from docket_core.errors import Overloaded
from tests.conformance.mutants import MUTANTS
from tests.conformance.mutants.mutant import Mutant, Sound, opener_of

FINDINGS = (AssertionError, TimeoutError, UnicodeEncodeError, ConnectionResetError, Overloaded)
"""How a requirement shows that it is not met; other errors would say that a mutant does not even run."""
NAMED = sorted({requirement for mutant in MUTANTS for requirement in mutant.breaks})


async def put_through(backend: type[Sound], requirement: str) -> None:
    """Run one requirement of the suite, by its name, against a backend."""
    parts = re.fullmatch(r"(\w+)\.(\w+)(?:\[(\w+)-(\w+)\])?", requirement)
    assert parts is not None
    case = getattr(suite, parts[1])
    method: Callable[..., Awaitable[None]] = getattr(case(), parts[2])
    arguments = [Stage[parts[3].upper()], Trigger[parts[4].upper()]] if parts[3] else []
    clock = ManualClock()

    async def advance(delta: Micros) -> None:
        clock.advance(delta)

    async def disrupt() -> None:
        backend.disrupted = True

    limited = opener_of(backend, max_tasks=20)
    async with Subject(opener_of(backend), clock, advance, disrupt, open_limited=limited) as subject:
        try:
            await method(subject, *arguments)
        finally:
            backend.disrupted = False


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "seconds", 0.2)


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_mutant_is_caught(mutant: Mutant) -> None:
    for requirement in mutant.breaks:
        with pytest.raises(FINDINGS):
            await put_through(mutant.backend, requirement)


@pytest.mark.parametrize("requirement", NAMED)
async def test_sound_backend_meets(requirement: str) -> None:
    await put_through(Sound, requirement)


SEEN_IN_HISTORIES = ("NoFence", "GrantsTwice", "ForgetsHolds", "SameGeneration", "WakesWithoutPermit")


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in SEEN_IN_HISTORIES], ids=lambda mutant: mutant.name)
def test_random_histories_find_it(mutant: Mutant) -> None:
    """The pure model is a judge by itself."""

    class Driven(History):
        opener = staticmethod(opener_of(mutant.backend))

    without_shrinking = settings(profile(300), phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Driven, settings=without_shrinking)
