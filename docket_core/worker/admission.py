"""Asks for a run's permits, all in one step, and says what their answer means for the run."""

from typing import TYPE_CHECKING

from docket_core.backend.kit import backoff, sleep
from docket_core.backend.model import Ack, Permit, PermitRequest, PermitStatus, Released
from docket_core.batching import Batcher
from docket_core.dependencies.admission import Admission
from docket_core.errors import BackendError, InvalidKey
from docket_core.execution import Execution
from docket_core.functions import TaskFunction
from docket_core.worker.run import Run

if TYPE_CHECKING:
    from docket_core.docket import Docket
    from docket_core.worker.worker import Worker

Plan = tuple[tuple[Admission, str | None], ...]
Asked = list[tuple[Admission, PermitRequest]]
FIRST_PAUSE = 50_000
"""The first pause while the store is away, in microseconds."""


class Denied(Exception):
    """The run must not start now: `ack` ends this grant, unless it is dropped for good.

    Args:
        reason: why, in a word.
        ack: how this grant ends; None ends the run as CANCELLED, after its hooks.
    """

    def __init__(self, reason: str, ack: Ack | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ack = ack


class Admissions:
    """The permits of one worker's runs; runs that ask at the same time share a round trip."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker
        self._docket: Docket = worker.docket
        self._plans: dict[TaskFunction, Plan] = {}
        self._acquire = Batcher[Asked, list[Permit]](self._acquire_groups, limit=100, held=self._has_to_wait)
        self._release = Batcher[PermitRequest, Released](self._release_all)
        self._parking: dict[int, str] = {}
        """By token: the gate in front of which a denied run is to be parked, until the store has answered that."""

    async def admit(self, run: Run, execution: Execution, task: TaskFunction) -> None:
        """Return if the run may start.

        Raises:
            Denied: it may not.
        """
        plan = self._plans.get(task)
        if plan is None:
            plan = self._plans[task] = _plan(task)
        asked: Asked = []
        for admission, parameter in plan:
            request = admission.request(execution, run.claim, parameter)
            if request is not None:
                asked.append((admission, request))
        if asked:
            await self._judge(run, asked, await self._ask(asked))

    def answered(self, run: Run) -> None:
        """The store has answered this run's verdict: if it was to be parked, it is."""
        if self._parking and self._parking.pop(run.token, None) is not None:
            self._acquire.go_on()

    async def _judge(self, run: Run, asked: Asked, permits: list[Permit]) -> None:
        status = permits[0].status
        if any(permit.status is PermitStatus.REFUSED for permit in permits):
            raise InvalidKey(f"the store takes no gates of these names: {[request.gate.name for _, request in asked]}")
        if status is PermitStatus.LOST:
            run.superseded = True
            raise Denied("its claim is not current", Ack.release(run.claim))
        if status is PermitStatus.DENIED:
            admission, request = _denying(asked, permits)
            raise Denied(admission.kind, Ack.park(run.claim, request) if admission.parks else None)
        for (admission, request), permit in zip(asked, permits, strict=True):
            if not admission.settles:
                continue
            # granted anew though it was claimed before: its time to settle was over, and the worker was lost
            settled = permit.status is PermitStatus.GRANTED and run.claim.delivery > 1
            if permit.status is not PermitStatus.LAPSED and not settled:
                await self._give_back([other for _, other in asked if other is not request])
                raise Denied(admission.kind, Ack.postpone(run.claim, when=permit.until))
            await self._give_back([request])

    async def _ask(self, asked: Asked) -> list[Permit]:
        """Ask until the store answers: asking again is answered HELD."""
        tries = 0
        while True:
            try:
                return await self._acquire(asked)
            except BackendError:
                tries += 1
                await sleep(self._worker.clock, backoff(tries, FIRST_PAUSE, self._worker.longest_pause))

    async def _give_back(self, requests: list[PermitRequest]) -> None:
        for request in requests:
            if not request.bound:
                await self._release(request)

    async def _acquire_groups(self, groups: list[Asked]) -> list[list[Permit]]:
        permits = iter(await self._docket.backend.acquire([request for asked in groups for _, request in asked]))
        answers = [[next(permits) for _ in asked] for asked in groups]
        for asked, answer in zip(groups, answers, strict=True):
            if answer[0].status is PermitStatus.DENIED:
                admission, request = _denying(asked, answer)
                if admission.parks:
                    self._parking[request.claim.token] = request.gate.name
        return answers

    def _has_to_wait(self, asked: Asked) -> bool:
        """Whether others who came to one of these gates before are to be parked there first.

        The store knows of them only then; a permit that becomes free meanwhile is theirs, not a newcomer's.
        """
        if not self._parking:
            return False
        return not {request.gate.name for _, request in asked}.isdisjoint(self._parking.values())

    async def _release_all(self, requests: list[PermitRequest]) -> list[Released]:
        return list(await self._docket.backend.release(requests))


def _denying(asked: Asked, permits: list[Permit]) -> tuple[Admission, PermitRequest]:
    """Whose gate is named by the answer."""
    return next(pair for pair in asked if pair[1].gate.name == permits[0].gate)


def _plan(task: TaskFunction) -> Plan:
    """The limits that a task declares, with the parameter that each is annotated on."""
    declared = [(dependency, None) for dependency in task.dependencies.values() if isinstance(dependency, Admission)]
    annotated = [
        (dependency, name)
        for name, dependencies in task.annotated.items()
        for dependency in dependencies
        if isinstance(dependency, Admission)
    ]
    return (*declared, *annotated)
