"""Optional helpers for authors of backends: bounds, back-off, permits of time, option parsers."""

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from types import TracebackType

from docket_core.backend.clock import SECOND, Clock, Handle, Micros, background
from docket_core.backend.model import Ack, PermitRequest, Task
from docket_core.errors import DocketError, InvalidKey, PayloadTooLarge

MAX_KEY_BYTES = 512
MAX_ERROR_BYTES = 16 * 1024
MAX_GATE_BYTES = 2048
"""A gate's or holder's name is made of a function's name and an argument's value."""
MAX_WAIT: Micros = 2 * SECOND
"""`wait` never sleeps longer: losing a push costs latency only."""
MAX_RECOVERY_DELAY: Micros = 60 * SECOND
_WHOLE = re.compile(r"-?[0-9]{1,30}")


def check_label(what: str, text: str, limit: int = MAX_KEY_BYTES) -> None:
    """Refuse a key or name that is empty, too long, not UTF-8, or has control characters.

    Raises:
        InvalidKey: it says which bound, and of what.
    """
    if text.isascii() and text.isprintable() and 0 < len(text) <= limit:
        return
    if not text:
        raise InvalidKey(f"the {what} is empty; give at least one character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"the {what} {text!r} is no valid Unicode text: {error.reason}") from error
    if size > limit:
        raise InvalidKey(f"the {what} has {size} bytes of UTF-8; at most {limit} are taken")
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in text):
        raise InvalidKey(f"the {what} {text!r} has control characters; leave them out")


def check_size(what: str, data: bytes | None, limit: int) -> None:
    """Refuse bytes above a limit.

    Raises:
        PayloadTooLarge: it says how many, and of what.
    """
    if data is not None and len(data) > limit:
        raise PayloadTooLarge(f"the {what} has {len(data):,} bytes; at most {limit:,} are taken")


def refusal_of_task(task: Task, max_payload: int) -> DocketError | None:
    """Why this task must be refused, if it must."""
    key, function, run = task.key, task.function, task.run
    if (
        (run is key or (run.isascii() and run.isprintable() and 0 < len(run) <= MAX_KEY_BYTES))
        and (key.isascii() and key.isprintable() and 0 < len(key) <= MAX_KEY_BYTES)
        and (function.isascii() and function.isprintable() and 0 < len(function) <= MAX_KEY_BYTES)
        and len(task.payload) <= max_payload
        and len(task.headers) <= MAX_ERROR_BYTES
    ):
        return None  # nearly all: the same checks, without a call for each
    try:
        check_label("key", task.key)
        check_label("function name", task.function)
        if task.run is not task.key:
            check_label("run id", task.run)
        check_size("payload", task.payload, max_payload)
        check_size("headers", task.headers, MAX_ERROR_BYTES)
    except DocketError as error:
        return error
    return None


def refusal_of_ack(ack: Ack, max_payload: int) -> DocketError | None:
    """Why this ack must be refused, if it must."""
    try:
        if ack.result is not None:
            check_size("result", ack.result, max_payload)
        if ack.error is not None and len(ack.error) * 4 > MAX_ERROR_BYTES:
            check_size("error text", ack.error.encode(errors="replace"), MAX_ERROR_BYTES)
        if ack.successor is not None:
            if ack.successor.key != ack.claim.key:
                raise InvalidKey(
                    f"the successor of {ack.claim.key!r} has the key {ack.successor.key!r}; it must be the same"
                )
            return refusal_of_task(ack.successor, max_payload)
        if ack.request is not None:
            check_request(ack.request)
    except DocketError as error:
        return error
    return None


def check_request(request: PermitRequest) -> None:
    """Refuse a permit request with a name outside its bounds.

    Raises:
        InvalidKey: it says which.
    """
    check_label("gate name", request.gate.name, MAX_GATE_BYTES)
    check_label("permit holder", request.holder, MAX_GATE_BYTES)


def is_refused(request: PermitRequest) -> bool:
    """Whether this request must be answered REFUSED."""
    try:
        check_request(request)
    except InvalidKey:
        return True
    return False


def due(task: Task, now: Micros) -> Micros:
    """When a scheduled task is due, by the store's `now`."""
    if task.when is not None:
        return task.when
    return now if task.delay is None else now + task.delay


def recovery_delay(deliveries: int, max_deliveries: int | None) -> Micros:
    """How long after its lease's end a task that was granted `deliveries` times may be taken over.

    Known at the grant: the first recovery is not delayed, the nth waits 2^(n-2) seconds, at most 60. The end of
    a task that would not be granted again is not delayed either.
    """
    if deliveries <= 1 or (max_deliveries is not None and deliveries >= max_deliveries):
        return 0
    return min(MAX_RECOVERY_DELAY, SECOND << min(deliveries - 2, 16))


def jittered(length: Micros, share: float = 0.1) -> Micros:
    """`length` shortened by a random part of up to `share`, so that many clients do not move in step."""
    return length - int(length * share * random.random())


def backoff(attempt: int, first: Micros, cap: Micros) -> Micros:
    """The pause before try `attempt` (from 1): doubling from `first` to `cap`, half of it random."""
    full = min(cap, first << min(attempt - 1, 32))
    return full // 2 + int(full // 2 * random.random())


async def sleep(clock: Clock, length: Micros) -> None:
    """Sleep `length` microseconds of the clock's time."""
    done = asyncio.Event()
    handle = clock.call_at(clock.now() + length, done.set)
    try:
        await done.wait()
    finally:
        handle.cancel()


async def wait_for_event(
    event: asyncio.Event, clock: Clock, until: Micros | None, looked: Micros | None = None
) -> None:
    """Sleep until `event` is set, until the clock shows `until`, or for `MAX_WAIT` (jitter shortens it).

    Args:
        event, clock, until: what ends it.
        looked: when the store was last asked, by the clock; `MAX_WAIT` counts from then. None: from now. One that lies
            ahead, as after the clock was set back, is taken as now.
    """
    if event.is_set():
        return
    now = clock.now()
    last = min(now, now if looked is None else looked) + jittered(MAX_WAIT)
    handles = [in_background(clock, last, event.set)]
    if until is not None and (until < last or hasattr(clock, "watcher")):  # one that moves by itself moves for it
        handles.append(clock.call_at(until, event.set))
    try:
        await event.wait()
    finally:
        for handle in handles:
            handle.cancel()


def in_background(clock: Clock, when: Micros, callback: Callable[[], None]) -> Handle:
    """`clock.call_at` for a timer that only guards: a clock that moves by itself does not move for it."""
    token = background.set(True)
    try:
        return clock.call_at(when, callback)
    finally:
        background.reset(token)


class translated:  # noqa: N801 - used as a statement: `with translated(translate): …`
    """Let no driver's error out: raise what `translate` makes of it, chained; None leaves it as it is.

    A class, as it is around every call of a store: a generator would take three times as long.
    """

    __slots__ = ("_translate",)

    def __init__(self, translate: Callable[[BaseException], DocketError | None]) -> None:
        self._translate = translate

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, DocketError):
            translation = self._translate(error)
            if translation is not None:
                raise translation from error


def whole_number(minimum: int = 0, maximum: int | None = None) -> Callable[[str], int]:
    """A parser for an option that takes a whole number."""

    def parse(text: str) -> int:
        number = int(text) if _WHOLE.fullmatch(text) else None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            bound = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
            raise ValueError(f"{text!r} is not a whole number {bound}")
        return number

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser for an option that takes one of a few words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text.lower()

    return parse


def switch(text: str) -> bool:
    """A parser for an option that is on or off."""
    word = text.lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def groups(requests: Sequence[PermitRequest]) -> list[tuple[int, list[PermitRequest]]]:
    """The requests of an acquire by claim: neighbours of one grant form a group; with their position."""
    result: list[tuple[int, list[PermitRequest]]] = []
    previous: tuple[str, int] | None = None
    for position, request in enumerate(requests):
        identity = (request.claim.key, request.claim.token)
        if identity == previous:
            result[-1][1].append(request)
        else:
            result.append((position, [request]))
        previous = identity
    return result
