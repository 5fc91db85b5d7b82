"""Two backends with a pure model beside each: every operation is done to both, and what both answer is compared."""

from collections.abc import Awaitable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar, cast

from docket_core.backend.clock import ManualClock, Micros
from docket_core.backend.model import Ack, Claim, Claimed, OnConflict, Permit, PermitRequest, ProgressUpdate, Task
from docket_core.backend.protocol import Backend
from docket_core.backend.records import Last, Page, Progress
from docket_core.backend.states import State
from docket_core.conformance.side import ENOUGH, Side
from docket_core.conformance.subject import OpenBackend

Answer = TypeVar("Answer")
LEFT_OPEN = frozenset({"token", "generation", "mark", "next_at", "reason"})
"""Each backend's own: tokens and marks, generations once a key was forgotten, a bound from below, free wording."""
OF_A_RUN_THAT_MAY_NOT_HAVE_BEEN = frozenset({"worker", "started_at"})


class Recorded(Side):
    """A side that remembers what its backend has answered."""

    def __init__(self, opener: OpenBackend, name: str, clock: ManualClock, retention: Micros) -> None:
        self.answers: list[object] = []
        super().__init__(opener, name, clock, retention)
        self.answers.clear()

    def do(self, operation: Awaitable[Answer]) -> Answer:
        answer = super().do(operation)
        self.answers.append(answer)
        return answer

    def told(self) -> list[object]:
        """What was answered since the last time, as far as the contract says it."""
        answers, self.answers = self.answers, []
        pages = [record for answer in answers if isinstance(answer, Page) for record in answer.records]
        others = [_comparable(answer) for answer in answers if not isinstance(answer, Page)]
        return [*others, sorted(map(repr, map(_comparable, pages)))]


class Pair(Recorded):
    """A backend, and another one beside it that is done the same to, zombies included.

    What the contract leaves open is not left to chance: claims take all there is, and no two things that have an order
    happen at one moment.
    """

    def __init__(
        self, opener: OpenBackend, reference: OpenBackend, name: str, clock: ManualClock, retention: Micros
    ) -> None:
        super().__init__(opener, name, clock, retention)
        self.other = Recorded(reference, name, ManualClock(clock.now()), retention)
        self._twins: dict[int, Claim] = {}
        """The other's claim, by the token of this one's."""

    def close(self) -> None:
        super().close()
        self.other.close()

    def advance(self, delta: Micros) -> None:
        super().advance(delta)
        self.other.advance(delta)
        self._agree()

    # --- operations -------------------------------------------------------------------------------

    def add(self, by: Backend, tasks: Sequence[Task], on_conflict: OnConflict, *, at_once: bool) -> None:
        super().add(by, tasks, on_conflict, at_once=at_once)
        self.other.add(self._like(by), tasks, on_conflict, at_once=at_once)
        self._agree()

    def claim(
        self, by: Backend, functions: AbstractSet[str] | None, limit: int, lease: Micros, max_deliveries: int | None
    ) -> None:
        limit, before, other = min(limit, 1) * ENOUGH, len(self.granted), self.other
        super().claim(by, functions, limit, lease, max_deliveries)
        other.claim(self._like(by), functions, limit, lease, max_deliveries)
        self._agree()
        twins = {claim.key: claim for claim in other.granted[before:]}
        for claim in self.granted[before:]:
            self._twins[claim.token] = twins[claim.key]

    def renew(self, by: Backend, claims: Sequence[Claim], lease: Micros) -> None:
        super().renew(by, claims, lease)
        self.other.renew(self._like(by), [self._twin(claim) for claim in claims], lease)
        self._agree()

    def ack(self, by: Backend, ack: Ack) -> None:
        self.advance(1)
        super().ack(by, ack)
        request = None if ack.request is None else self._request(ack.request)
        self.other.ack(self._like(by), ack._replace(claim=self._twin(ack.claim), request=request))
        self._agree()

    def cancel(self, by: Backend, keys: Sequence[str]) -> None:
        super().cancel(by, keys)
        self.other.cancel(self._like(by), keys)
        self._agree()

    def clear(self, by: Backend) -> None:
        super().clear(by)
        self.other.clear(self._like(by))
        self._agree()

    def prune(self, by: Backend) -> None:
        super().prune(by)
        self.other.prune(self._like(by))
        self.answers.clear()  # how many things it takes to keep a record is each one's own
        self.other.answers.clear()

    def acquire(self, by: Backend, requests: Sequence[PermitRequest]) -> Sequence[Permit]:
        answers = super().acquire(by, requests)
        self.other.acquire(self._like(by), [self._request(request) for request in requests])
        self._agree()
        return answers

    def release(self, by: Backend, request: PermitRequest) -> None:
        super().release(by, request)
        self.other.release(self._like(by), self._request(request))
        self._agree()

    def progress(self, by: Backend, update: ProgressUpdate) -> None:
        super().progress(by, update)
        self.other.progress(self._like(by), update._replace(claim=self._twin(update.claim)))
        self._agree()

    # --- what can be seen -------------------------------------------------------------------------

    def compare(self, keys: Sequence[str]) -> None:
        super().compare(keys)
        self.other.compare(keys)
        self._agree()

    def scan(self, states: AbstractSet[State], limit: int) -> None:
        super().scan(states, limit)
        self.other.scan(states, limit)
        self._agree()

    def _agree(self) -> None:
        mine, others = self.told(), self.other.told()
        assert mine == others, f"{mine} was told, and {others} by the reference"

    def _like(self, by: Backend) -> Backend:
        return self.other.instances[self.instances.index(by)]

    def _twin(self, claim: Claim) -> Claim:
        return self._twins[claim.token]

    def _request(self, request: PermitRequest) -> PermitRequest:
        return request._replace(claim=self._twin(request.claim))


def _comparable(told: Any) -> object:
    """What the contract says of an answer, and nothing else."""
    if isinstance(told, Claimed):
        claims = sorted(repr(_comparable(claim)) for claim in told.claims)
        return (claims, sorted(repr(_comparable(ended)) for ended in told.ended), told.now)
    if isinstance(told, Last):
        error = None if told.reason == "poison" else told.error
        return _fields(told._replace(error=error), LEFT_OPEN | OF_A_RUN_THAT_MAY_NOT_HAVE_BEEN)
    if told == Progress():
        return None
    if hasattr(told, "_fields"):
        return _fields(told, LEFT_OPEN)
    if isinstance(told, list | tuple):
        return [_comparable(item) for item in cast("Sequence[object]", told)]
    return cast("object", told)


def _fields(told: Any, left_out: AbstractSet[str]) -> object:
    shown = told._asdict()
    return (type(told).__name__, [(name, _comparable(value)) for name, value in shown.items() if name not in left_out])
