"""The operations on gates: each answers for claims that are current, and only for them."""

from collections.abc import Sequence

from docket_core.backend.kit import groups, is_refused
from docket_core.backend.model import Claim, Permit, PermitRequest, PermitStatus, Released
from docket_sqlite import gates
from docket_sqlite.parts import Part, findable, load
from docket_sqlite.transaction import Transaction


def acquire(tx: Transaction, requests: Sequence[PermitRequest]) -> list[Permit]:
    """Take expiring permits for running tasks; those of one claim together or not at all."""
    answers: list[Permit] = []
    for _, group in groups(requests):
        part = _current(tx, group[0].claim)
        if any(is_refused(request) for request in group):
            answers += [Permit(PermitStatus.REFUSED, None, request.gate.name) for request in group]
        elif part is None:
            answers += [Permit(PermitStatus.LOST, None, request.gate.name) for request in group]
        else:
            answers += gates.acquire(tx, part, group)
    return answers


def release(tx: Transaction, requests: Sequence[PermitRequest]) -> list[Released]:
    """Give permits back before they expire."""
    answers: list[Released] = []
    for request in requests:
        if is_refused(request):
            answers.append(Released.ABSENT)
        elif _current(tx, request.claim) is None:
            answers.append(Released.LOST)
        else:
            answers.append(Released.RELEASED if gates.give_back(tx, request) else Released.ABSENT)
    return answers


def _current(tx: Transaction, claim: Claim) -> Part | None:
    """The running part of this claim, if its lease has not run out; a hold is not current."""
    entry = load(tx, findable([claim.key])).get(claim.key)
    part = None if entry is None else entry.live
    if part is None or not part.running or part.token != claim.token or part.lease_until <= tx.now:
        return None
    return part
