"""What the requests of claims come to at the gates."""

from docket_core.backend.kit import is_refused
from docket_core.backend.model import Permit, PermitRequest, PermitStatus, Released
from docket_lmdb.step import Step


def acquire(step: Step, group: list[PermitRequest]) -> list[Permit]:
    held = step.current(group[0].claim)
    status = PermitStatus.LOST if held is None else None
    if any(is_refused(request) for request in group):
        status = PermitStatus.REFUSED
    if held is None or status is not None:
        return [Permit(status or PermitStatus.LOST, None, request.gate.name) for request in group]
    entry, part = held
    answers = step.gates.acquire(part, group)
    entry.save()
    return answers


def release(step: Step, request: PermitRequest) -> Released:
    held = step.current(request.claim)
    if held is None:
        return Released.LOST
    entry, part = held
    live = step.gates.give_back(part, request)
    entry.save()
    return Released.RELEASED if live else Released.ABSENT
