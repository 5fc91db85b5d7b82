"""Between the seam's records and the arguments and rows of statements."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from docket_core.backend.clock import Micros
from docket_core.backend.model import Ack, PermitRequest, Task, Verdict
from docket_core.backend.records import Hold, Last, Live, Progress, Record
from docket_core.backend.states import State

Row: TypeAlias = Sequence[Any]
Item = TypeVar("Item")

STATES = {
    10: State.SCHEDULED,
    11: State.QUEUED,
    12: State.RUNNING,
    13: State.COMPLETED,
    14: State.FAILED,
    15: State.CANCELLED,
}
VERDICTS = {
    Verdict.COMPLETE: 3,
    Verdict.FAIL: 4,
    Verdict.CANCEL: 5,
    Verdict.RETRY: 6,
    Verdict.POSTPONE: 7,
    Verdict.PARK: 8,
    Verdict.RELEASE: 9,
}
_FAR: Micros = 1 << 62
_MAX_INT = (1 << 63) - 1
_MAX_NAME = 200
_PORTION = 1000
_PORTION_BYTES = 8 * 1024 * 1024


def moment(value: Micros | None) -> Micros | None:
    """A moment or length of time that a bigint can hold, and the sum of two of them as well."""
    return None if value is None else max(-_FAR, min(value, _FAR - 1))


def length(value: Micros | None) -> Micros | None:
    """A delay such that a moment this far from now fits."""
    return None if value is None else max(-_FAR // 2, min(value, _FAR // 2))


def count(value: int | None) -> int | None:
    """A whole number that fits into a bigint."""
    return None if value is None else max(-_MAX_INT, min(value, _MAX_INT))


def text(value: str | None) -> str | None:
    """Text that Postgres can keep: it holds no NUL, and only valid Unicode."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable(value: str) -> bool:
    """Whether Postgres can hold this text as it is; a name that it cannot hold is nobody's."""
    return (value.isascii() and "\0" not in value) or text(value) == value


def name(value: str) -> str:
    """A gate's or holder's name, short enough for an index; longer ones end in their digest."""
    data = value.encode()
    if len(data) <= _MAX_NAME:
        return value
    head = data[: _MAX_NAME - 60].decode("utf-8", "ignore")
    return f"{head}…{hashlib.sha256(data).hexdigest()}".ljust(_MAX_NAME + 1, "…")


def waves(items: Iterable[tuple[str, Item]], *, as_given: bool = False) -> list[list[tuple[str, Item]]]:
    """Items by key, so that each wave has a key at most once and is in byte order; repeated keys keep their order.

    A statement cannot change a row twice, and locks are taken in the order of the keys.

    Args:
        items: keys, and what belongs to each.
        as_given: keep the order within a wave, where first come is first served; the statement itself sorts its locks.
    """
    first: dict[str, tuple[str, Item]] = {}
    later: list[list[tuple[str, Item]]] = []
    seen: dict[str, int] = {}
    for pair in items:
        key = pair[0]
        if key not in first:
            first[key] = pair
            continue
        number = seen[key] = seen.get(key, 0) + 1
        if number > len(later):
            later.append([])
        later[number - 1].append(pair)
    result = [list(first.values()), *later] if first else []
    return result if as_given else [sorted(wave, key=lambda pair: pair[0]) for wave in result]


def places(positions: list[int]) -> list[int] | None:
    """Where each position stands among them, from 1; None if they stand in their order."""
    in_order = sorted(positions)
    if in_order == positions:
        return None
    rank = {position: number for number, position in enumerate(in_order, 1)}
    return [rank[position] for position in positions]


def portions(items: Sequence[Item], weight: Callable[[Item], int]) -> list[list[Item]]:
    """Items in the same order, cut so that no statement grows beyond what a server likes to take at once."""
    result: list[list[Item]] = [[]]
    total = 0
    for item in items:
        total += weight(item)
        if len(result[-1]) >= _PORTION or (total > _PORTION_BYTES and result[-1]):
            result.append([])
            total = weight(item)
        result[-1].append(item)
    return result if items else []


def request_json(request: PermitRequest) -> str:
    """What is kept of the request a task is parked for."""
    return json.dumps(
        {
            "gate": name(request.gate.name),
            "limit": clamped(request.gate.limit),
            "holder": name(request.holder),
            "bound": request.bound,
            "extend": request.extend_on_conflict,
        }
    )


def clamped(value: int) -> int:
    """A limit or attempt that fits into an int."""
    return max(-(2**31), min(value, 2**31 - 1))


def column(values: list[Any], usual: object = None) -> list[Any] | None:
    """A column for `unnest`, which fills a missing one with nulls: the driver looks at every element of an array."""
    return None if values.count(usual) == len(values) else values


def task_columns(tasks: Sequence[Task], *, at_once: bool) -> tuple[list[Any] | None, ...]:
    """The arrays of `add_new_1`; `enqueue_1` is given the runs besides."""
    functions = [task.function for task in tasks]
    return (
        [task.key for task in tasks],
        functions[:1] if functions.count(functions[0]) == len(functions) else functions,
        [task.payload for task in tasks],
        column([task.headers for task in tasks], usual=b""),
        None if at_once else column([moment(task.when) for task in tasks]),
        None if at_once else column([length(task.delay) for task in tasks]),
        column([clamped(task.attempt) for task in tasks], usual=1),
    )


def ack_columns(acks: Sequence[Ack]) -> tuple[list[Any] | None, ...]:
    """The arrays of `ack_1`."""
    whens: list[tuple[Micros | None, Micros | None]] = []
    for ack in acks:
        source = ack if ack.successor is None else ack.successor
        whens.append((moment(source.when), length(source.delay)))
    successors = [ack.successor for ack in acks]
    return (
        [ack.claim.key for ack in acks],
        [count(ack.claim.generation) for ack in acks],
        [count(ack.claim.token) for ack in acks],
        [VERDICTS[ack.verdict] for ack in acks],
        column([ack.result for ack in acks]),
        column([text(ack.error) for ack in acks]),
        column([text(ack.reason) for ack in acks]),
        column([when for when, _ in whens]),
        column([delay for _, delay in whens]),
        [clamped((ack if ack.successor is None else ack.successor).attempt) for ack in acks],
        [None if task is None else task.run for task in successors],
        [None if task is None else task.function for task in successors],
        [None if task is None else task.payload for task in successors],
        [None if task is None else task.headers for task in successors],
        [None if ack.request is None else request_json(ack.request) for ack in acks],
    )


def state_of(code: int, place: int | None, due: Micros, now: Micros) -> State:
    """A stored state as readers see it."""
    if code > 1:
        return STATES[code + 10]
    return State.QUEUED if place is None and due <= now else State.SCHEDULED


def records(rows: Iterable[Row], now: Micros) -> dict[str, Record]:
    """Records of parts as `read_1` gives them; what retention has released is left out."""
    found: dict[str, Record] = {}
    for row in rows:
        kind, key, state = row[0], row[1], row[2]
        record = found.get(key) or Record(key)
        if kind == 2:
            if row[15] > now:
                found[key] = record._replace(hold=_hold(row))
        elif state <= 2:
            found[key] = record._replace(live=_live(row, now))
        elif row[22] > now:
            found[key] = record._replace(last=_last(row))
    return found


def _live(row: Row, now: Micros) -> Live:
    running = row[2] == 2
    progress = None if row[20] is None else Progress(row[17] or 0, row[18], row[19], row[20])
    state = state_of(row[2], row[26], row[10], now)
    return Live._make((state, *row[3:12], *(row[12:16] if running else (None,) * 4), row[16], progress))


def _last(row: Row) -> Last:
    return Last._make((STATES[row[2] + 10], *row[3:11], *row[12:15:2], *row[21:26]))


def _hold(row: Row) -> Hold:
    return Hold._make((*row[3:11], *row[12:17]))
