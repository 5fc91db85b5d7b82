"""Between the records of the model and the arguments and answers of the scripts."""

from collections.abc import Sequence
from itertools import chain, pairwise
from urllib.parse import quote

from docket_core.backend.clock import Micros
from docket_core.backend.model import (
    END_OF,
    Ack,
    Acked,
    CancelReply,
    Claim,
    Ended,
    Enqueued,
    EnqueueStatus,
    Permit,
    PermitRequest,
    PermitStatus,
    ProgressReply,
    ProgressUpdate,
    Released,
    Renewal,
    Task,
    Verdict,
)
from docket_redis.connection import Argument, Reply
from docket_redis.records import PIECE, STATES, joined, optional_int, parted

ACKED = {b"A": Acked.ACKED, b"G": Acked.GONE, b"S": Acked.SUPERSEDED, b"L": Acked.LOST}
CANCELLED = {b"C": CancelReply.CANCELLED, b"R": CancelReply.REQUESTED, b"G": CancelReply.GONE}
RENEWED = {b"R": Renewal.RENEWED, b"C": Renewal.CANCEL, b"L": Renewal.LOST}
RELEASED = {b"R": Released.RELEASED, b"A": Released.ABSENT, b"L": Released.LOST}
PROGRESSED = {
    b"R": ProgressReply.RECORDED,
    b"G": ProgressReply.GONE,
    b"S": ProgressReply.SUPERSEDED,
    b"L": ProgressReply.LOST,
}
_PERMITS = {
    b"G": PermitStatus.GRANTED,
    b"H": PermitStatus.HELD,
    b"P": PermitStatus.LAPSED,
    b"D": PermitStatus.DENIED,
    b"L": PermitStatus.LOST,
}
_VERDICTS = {
    Verdict.COMPLETE: "C",
    Verdict.FAIL: "F",
    Verdict.CANCEL: "X",
    Verdict.RETRY: "R",
    Verdict.POSTPONE: "O",
    Verdict.PARK: "P",
    Verdict.RELEASE: "L",
}
_LATER = frozenset({Verdict.RETRY, Verdict.POSTPONE})
_SHORT = 5 * PIECE
"""Up to so many bytes of payload and headers together stand in the record itself, in pieces."""
PORTION = 500
"""How many items one script deals with: a few milliseconds of the server's time."""
_MOST_BYTES = 8 * 1024 * 1024
"""And how much they may hold together, unless it is one."""
_CLAIM_WIDTH = 11
_ENQUEUED_WIDTH = 5


def prefix_of(name: str) -> str:
    """What every key and channel of a docket begins with: its name is the hash tag, so braces in it are quoted."""
    return f"docket:{{{quote(name, safe=_SAFE)}}}:"


_SAFE = "".join(chr(code) for code in range(33, 127) if chr(code) not in "{}%*?[]\\^\"'")
"""What stays readable in a key; glob characters are quoted so that a prefix can stand in a server's access list."""


def portions(items: Sequence[Sequence[Argument]]) -> list[slice]:
    """Which items go into one script each: neighbours, neither too many nor too large."""
    if len(items) == 1:
        return [slice(0, 1)]
    cuts, size, start = [0], 0, 0
    for at, item in enumerate(items):
        of_item = sum(len(value) for value in item if isinstance(value, bytes))
        if at - start >= PORTION or (size + of_item > _MOST_BYTES and at > start):
            cuts.append(at)
            size, start = 0, at
        size += of_item
    return [slice(first, last) for first, last in pairwise([*cuts, len(items)]) if first < last]


def flat(items: Sequence[Sequence[Argument]], *first: Argument) -> list[Argument]:
    """The arguments of one script: what stands in front, then all of each item."""
    return [*first, *chain.from_iterable(items)]


def enqueue_arguments(task: Task, *, at_once: bool) -> list[Argument]:
    kind, moment = ("n", 0) if at_once else _moment(task.when, task.delay)
    long, payload, headers = _content(task)
    return [task.key, task.function, task.run, kind, moment, task.attempt, long, payload, headers]


def _moment(when: Micros | None, delay: Micros | None) -> tuple[str, Micros]:
    if when is not None:
        return "w", when
    return ("n", 0) if delay is None else ("d", delay)


def _content(task: Task) -> tuple[int, bytes, bytes]:
    if len(task.payload) + len(task.headers) <= _SHORT:
        return 0, task.payload, task.headers
    return 1, joined(task.payload, task.headers), b""


def enqueued(tasks: Sequence[Task], reply: Reply) -> list[Enqueued]:
    if isinstance(reply, bytes):
        return [Enqueued(EnqueueStatus.ACCEPTED, tasks[0].run, 1, int(reply[1:]), STATES[reply[:1].decode()])]
    answers: list[Enqueued] = []
    at = 1
    for task in tasks:
        code, run, generation, when, state = reply[at : at + _ENQUEUED_WIDTH]
        at += _ENQUEUED_WIDTH
        accepted = code == b"A"
        answers.append(
            Enqueued(
                EnqueueStatus.ACCEPTED if accepted else EnqueueStatus.EXISTS,
                task.run if accepted else run.decode(),
                int(generation),
                int(when),
                STATES[state.decode()],
            )
        )
    return answers


def claims(values: Sequence[bytes], now: Micros, lease_until: Micros) -> list[Claim]:
    result: list[Claim] = []
    for at in range(0, len(values), _CLAIM_WIDTH):
        key, generation, token, function, payload, headers, run, when, delivery, attempt, long = values[
            at : at + _CLAIM_WIDTH
        ]
        if long:
            payload, headers = parted(payload)
        result.append(
            Claim(
                key.decode(),
                int(generation),
                int(token),
                function.decode(),
                payload,
                headers,
                run.decode(),
                int(when),
                int(delivery),
                int(attempt),
                now,
                lease_until,
            )
        )
    return result


def ended(values: Sequence[bytes]) -> list[Ended]:
    texts = [value.decode() for value in values]
    return [
        Ended(texts[at], texts[at + 1], texts[at + 2], STATES[texts[at + 3]], texts[at + 4])
        for at in range(0, len(texts), 5)
    ]


def ack_arguments(ack: Ack) -> list[Argument]:
    claim, verdict = ack.claim, ack.verdict
    arguments: list[Argument] = [claim.key, claim.generation, claim.token, _VERDICTS[verdict]]
    if verdict in END_OF:
        named: tuple[tuple[str, bytes | str | None], ...] = (
            ("r", None if ack.result is None else b"+" + ack.result),
            ("e", None if ack.error is None else "+" + ack.error.encode(errors="replace").decode()),
            ("w", ack.reason),
        )
        given = [(name, value) for name, value in named if value is not None]
        arguments.append("".join(name for name, _ in given))
        arguments += [value for _, value in given]
        arguments += _successor(ack.successor)
    elif verdict is Verdict.PARK and ack.request is not None:
        arguments += _request(ack.request)
    elif verdict in _LATER:
        arguments += [*_moment(ack.when, ack.delay), ack.attempt]
    return arguments


def _successor(task: Task | None) -> list[Argument]:
    if task is None:
        return [0]
    return [1, task.function, task.run, *_moment(task.when, task.delay), task.attempt, *_content(task)]


def _request(request: PermitRequest) -> list[Argument]:
    gate = request.gate
    return [gate.name, gate.limit, request.holder, request.ttl, int(request.bound), int(request.extend_on_conflict)]


def acquire_arguments(group: Sequence[PermitRequest]) -> list[Argument]:
    arguments: list[Argument] = [group[0].claim.key, group[0].claim.token, len(group)]
    for request in group:
        arguments += _request(request)
    return arguments


def permits(reply: Sequence[bytes]) -> list[Permit]:
    return [
        Permit(_PERMITS[reply[at]], optional_int(reply[at + 1]), reply[at + 2].decode())
        for at in range(0, len(reply), 3)
    ]


def progress_arguments(update: ProgressUpdate) -> list[Argument]:
    claim = update.claim
    how = "c" if update.clear_message else "k" if update.message is None else "s"
    total = "" if update.total is None else update.total
    message = (update.message or "").encode(errors="replace")
    return [claim.key, claim.generation, claim.token, update.increment, total, how, message]
