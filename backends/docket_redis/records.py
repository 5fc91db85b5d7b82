"""From the hashes of the store to the records of the model."""

from collections.abc import Sequence

from docket_core.backend.clock import Micros
from docket_core.backend.records import Hold, Last, Live, Progress, Record
from docket_core.backend.states import State
from docket_redis.connection import Reply

STATES = {
    "S": State.SCHEDULED,
    "Q": State.QUEUED,
    "R": State.RUNNING,
    "C": State.COMPLETED,
    "F": State.FAILED,
    "X": State.CANCELLED,
}
LETTERS = {state: letter for letter, state in STATES.items()}

PIECE = 64
"""A hash keeps its small form as long as no field has more bytes (`hash-max-listpack-value`)."""

Fields = dict[bytes, bytes]


def optional_int(text: str | bytes | None) -> int | None:
    """The number, unless there is none."""
    return int(text) if text else None


def joined(payload: bytes, headers: bytes) -> bytes:
    """Payload and headers as the one string that is kept outside of a record."""
    return b"%d:%b%b" % (len(headers), headers, payload)


def parted(data: bytes) -> tuple[bytes, bytes]:
    """Payload and headers of such a string."""
    size, _, rest = data.partition(b":")
    length = int(size or 0)
    return rest[length:], rest[:length]


def record_of(row: Sequence[Reply], now: Micros) -> Record | None:
    """What readers see of a key; None where retention has released all there was."""
    live, last, hold = (_fields(row[position]) for position in (1, 3, 5))
    record = Record(
        row[0].decode(errors="replace"),
        _live(live, row[2], now) if live else None,
        _last(last, row[4]) if last and int(last[b"zx"]) > now else None,
        _hold(hold, row[6]) if hold and int(hold[b"l"]) > now else None,
    )
    return record if record[1:] != (None, None, None) else None


def _fields(flat: Sequence[bytes]) -> Fields:
    fields = {name: value for name, value in zip(flat[::2], flat[1::2], strict=True) if value}
    return fields if b"s" in fields else {}


def _content(fields: Fields, outside: bytes) -> tuple[bytes, bytes]:
    if b"x" in fields:
        return parted(outside)
    return _whole(fields, b"p") or b"", _whole(fields, b"h") or b""


def _whole(fields: Fields, name: bytes) -> bytes | None:
    """A value that may stand in pieces: name, name1, name2 …"""
    value = fields.get(name)
    if value is None or len(value) != PIECE:
        return value
    pieces = [value]
    while (piece := fields.get(b"%b%d" % (name, len(pieces)))) is not None:
        pieces.append(piece)
    return b"".join(pieces)


def _text(fields: Fields, name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode(errors="replace")


def _live(fields: Fields, outside: bytes, now: Micros) -> Live:
    payload, headers = _content(fields, outside)
    when = int(fields[b"w"])
    running = fields[b"s"] == b"r"
    ready = fields[b"s"] == b"q" and when <= now
    state = State.RUNNING if running else State.QUEUED if ready else State.SCHEDULED
    return Live(
        state,
        fields[b"f"].decode(),
        payload,
        headers,
        fields[b"r"].decode(),
        int(fields[b"g"]),
        int(fields.get(b"a", 1)),
        int(fields.get(b"d", 0)),
        when,
        optional_int(fields.get(b"pk")) if fields[b"s"] == b"p" else None,
        _text(fields, b"k") if running else None,
        optional_int(fields.get(b"t")) if running else None,
        optional_int(fields.get(b"u")) if running else None,
        optional_int(fields.get(b"l")) if running else None,
        b"c" in fields,
        _progress(fields) if running else None,
    )


def _progress(fields: Fields) -> Progress | None:
    if b"pu" not in fields:
        return None
    message = _text(fields, b"pg")
    return Progress(
        int(fields[b"pc"]),
        optional_int(fields.get(b"pt")),
        message[1:] if message is not None else None,
        int(fields[b"pu"]),
    )


def _last(fields: Fields, outside: bytes) -> Last:
    payload, headers = _content(fields, outside)
    held = fields[b"s"] == b"r"
    result, error = _whole(fields, b"zr"), _whole(fields, b"ze")
    return Last(
        STATES[fields[b"zs"].decode()],
        fields[b"f"].decode(),
        payload,
        headers,
        fields[b"r"].decode(),
        int(fields[b"g"]),
        int(fields.get(b"a", 1)),
        int(fields.get(b"d", 0)),
        int(fields[b"w"]),
        _text(fields, b"k") if held else None,
        optional_int(fields.get(b"u")) if held else None,
        int(fields[b"zc"]),
        int(fields[b"zx"]),
        result[1:] if result is not None else None,
        error[1:].decode(errors="replace") if error is not None else None,
        _text(fields, b"zw"),
    )


def _hold(fields: Fields, outside: bytes) -> Hold:
    payload, headers = _content(fields, outside)
    return Hold(
        fields[b"f"].decode(),
        payload,
        headers,
        fields[b"r"].decode(),
        int(fields[b"g"]),
        int(fields.get(b"a", 1)),
        int(fields.get(b"d", 0)),
        int(fields[b"w"]),
        fields[b"k"].decode(),
        int(fields[b"t"]),
        int(fields[b"u"]),
        int(fields[b"l"]),
        b"c" in fields,
    )
