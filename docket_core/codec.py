"""The one place where calls, results, exceptions and strikes become bytes and come back.

A codec turns one Python value into bytes and back; what surrounds it (which bytes are a call, which an
exception) stands here. Decoding happens nowhere else, so whoever wants to know what a payload can do to a
worker reads this file.
"""

import json
import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import cloudpickle  # type: ignore[import-untyped, unused-ignore]

from docket_core.backend.kit import MAX_ERROR_BYTES
from docket_core.errors import CodecError, PayloadRefused, Undecodable, Unserializable

_dumps = cast("Callable[[object], bytes]", getattr(cloudpickle, "dumps"))  # noqa: B009 - it is untyped
_JSON = frozenset({int, str, float, bool, type(None)})
_LISTS: tuple[type[Any], ...] = (tuple, list)
_PLAIN = frozenset({int, str, float, bool, bytes, type(None)})


class CodecContext(NamedTuple):
    """What the bytes belong to; a codec may bind them to it.

    Args:
        key: the task's, or what identifies a strike.
        kind: "call", "result", "exception" or "strike".
    """

    docket: str
    key: str
    function: str
    kind: str = "call"


class Codec(Protocol):
    """Turns values into bytes and back."""

    @property
    def name(self) -> str:
        """A short name, for messages."""
        ...

    def encode(self, value: object, context: CodecContext) -> bytes:
        """Raises whatever it wants for a value it cannot encode; the caller makes it `Unserializable`."""
        ...

    def decode(self, data: bytes, context: CodecContext) -> object:
        """Raises `PayloadRefused` for bytes it does not allow; anything else becomes `Undecodable`."""
        ...


class CloudpickleCodec:
    """The default: any value that cloudpickle takes, functions and classes of `__main__` included.

    Whoever can write to the store can run code in the workers; see `signed` codecs for stores that are shared.
    """

    name = "cloudpickle"

    def encode(self, value: object, context: CodecContext) -> bytes:
        if _is_plain(value):
            return pickle.dumps(value, protocol=5)
        return _dumps(value)

    def decode(self, data: bytes, context: CodecContext) -> object:
        return pickle.loads(data)


def _is_plain(value: object) -> bool:
    """Whether pickle alone gives what cloudpickle would: a call of plain values, or one such value."""
    kind = type(value)
    if kind is not list and kind is not tuple:
        return kind in _PLAIN
    parts: Any = value
    part: object
    for part in parts:
        kind = type(part)
        if kind is list or kind is tuple or kind is dict:
            within: Any = part
            if within and not _PLAIN.issuperset(map(type, within.values() if kind is dict else within)):
                return False
        elif kind not in _PLAIN:
            return False
    return True


class JsonCodec:
    """Values that JSON has: text, numbers, booleans, None, lists and dicts with text keys.

    It refuses to encode what would come back as something else (a tuple among them).
    """

    name = "json"

    def encode(self, value: object, context: CodecContext) -> bytes:
        _check_json(value)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    def decode(self, data: bytes, context: CodecContext) -> object:
        try:
            return json.loads(data)
        except ValueError as error:
            raise PayloadRefused(f"these bytes are no JSON, and the docket takes nothing else: {error}") from error


def _check_json(value: object) -> None:
    """Raises TypeError for what would come back as something else."""
    if type(value) is list:
        for item in cast("list[object]", value):
            _check_json(item)
    elif type(value) is dict:
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str:
                raise TypeError(f"JSON has no keys but text, and {key!r} is a {type(key).__name__}")
            _check_json(item)
    elif type(value) not in _JSON:
        raise TypeError(f"JSON has no {type(value).__name__}")


def encode_call(codec: Codec, context: CodecContext, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
    """The arguments of a call as bytes.

    Raises:
        Unserializable: an argument cannot be encoded; nothing was written.
    """
    return _encode(codec, [[*args], dict(kwargs) if kwargs else {}], context, "the arguments")


def decode_call(codec: Codec, context: CodecContext, data: bytes) -> tuple[tuple[object, ...], dict[str, object]]:
    """The arguments of a call.

    Raises:
        PayloadRefused: the codec does not allow these bytes.
        Undecodable: they are no call.
    """
    value: Any = _decode(codec, data, context, "the payload")
    if isinstance(value, _LISTS) and len(value) == 2 and isinstance(value[0], _LISTS) and isinstance(value[1], dict):
        return tuple(value[0]), value[1]
    raise Undecodable(f"the payload holds no call but a {type(value).__name__}")


def encode_result(codec: Codec, context: CodecContext, value: object) -> bytes | None:
    """A task's result as bytes; None for None, which needs none.

    Raises:
        Unserializable: it cannot be encoded.
    """
    if value is None:
        return None
    return _encode(codec, value, context._replace(kind="result"), "the result")


def decode_result(codec: Codec, context: CodecContext, data: bytes | None) -> object:
    """A task's result.

    Raises:
        PayloadRefused: the codec does not allow these bytes.
        Undecodable: they cannot be read.
    """
    return None if data is None else _decode(codec, data, context._replace(kind="result"), "the result")


def encode_exception(codec: Codec, context: CodecContext, error: BaseException, limit: int) -> bytes | None:
    """An exception as bytes, or None where that cannot be or would be too large: its text is kept anyway."""
    if not isinstance(error, Exception):
        return None  # raising it where somebody waits would end more than that wait
    try:
        data = codec.encode(error, context._replace(kind="exception"))
    except BaseException:  # noqa: BLE001 - whatever a user's class does here, the text tells of the failure
        return None
    return data if len(data) <= limit else None


def decode_exception(codec: Codec, context: CodecContext, data: bytes | None) -> Exception | None:
    """The exception that a task failed with, or None if it cannot be had here."""
    if data is None:
        return None
    try:
        value = codec.decode(data, context._replace(kind="exception"))
    except BaseException:  # noqa: BLE001 - its class may be missing here, or refuse to be made; the text remains
        return None
    return value if isinstance(value, Exception) else None


def exception_text(error: BaseException) -> str:
    """Type, message and traceback as text of at most 16 KiB, whatever the exception does when it is asked."""
    try:
        text = "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception:  # noqa: BLE001 - a __str__ or __repr__ of the user's may raise
        text = f"{type(error).__module__}.{type(error).__qualname__}, whose text cannot be shown"
    return clip(text)


def exception_line(error: BaseException) -> str:
    """Type and message in one line, whatever the exception does when it is asked."""
    try:
        return clip("".join(traceback.format_exception_only(error)).strip())
    except Exception:  # noqa: BLE001 - a __str__ of the user's may raise
        return f"{type(error).__qualname__}, whose text cannot be shown"


def clip(text: str) -> str:
    """`text` within the bound for error texts; the middle is left out."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= MAX_ERROR_BYTES:
        return data.decode()
    half = MAX_ERROR_BYTES // 2 - 16
    return f"{data[:half].decode(errors='ignore')}\n[…]\n{data[-half:].decode(errors='ignore')}"


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Context that travels with a call, as bytes; nothing as no bytes."""
    return json.dumps(dict(headers), separators=(",", ":")).encode() if headers else b""


def decode_headers(data: bytes) -> dict[str, str]:
    """The context that travelled with a call; what cannot be read is as if it were not there."""
    if not data:
        return {}
    try:
        value: object = json.loads(data)
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {str(name): str(text) for name, text in cast("dict[object, object]", value).items()}


def encode_instruction(codec: Codec, docket: str, rule_id: str, parts: list[object]) -> bytes:
    """A strike's parts as bytes.

    Raises:
        Unserializable: its value cannot be encoded; nothing was written.
    """
    return _encode(codec, parts, _of_strike(docket, rule_id), "the strike")


def decode_instruction(codec: Codec, docket: str, rule_id: str, data: bytes) -> Sequence[object]:
    """A strike's parts.

    Raises:
        PayloadRefused: the codec does not allow these bytes.
        Undecodable: they are no strike.
    """
    value = _decode(codec, data, _of_strike(docket, rule_id), "the instruction")
    if isinstance(value, tuple | list):
        return cast("Sequence[object]", value)
    raise Undecodable("these bytes are no strike")


def _of_strike(docket: str, rule_id: str) -> CodecContext:
    return CodecContext(docket, rule_id, "strike", "strike")


def _encode(codec: Codec, value: object, context: CodecContext, what: str) -> bytes:
    try:
        return codec.encode(value, context)
    except CodecError:
        raise
    except BaseException as error:  # a user's class may raise anything at all
        whose = what if context.kind == "strike" else f"{what} of {context.function}"
        raise Unserializable(f"{whose} cannot be encoded by the {codec.name} codec: {exception_line(error)}") from error


def _decode(codec: Codec, data: bytes, context: CodecContext, what: str) -> object:
    try:
        return codec.decode(data, context)
    except CodecError:
        raise
    except BaseException as error:
        raise Undecodable(
            f"{what} of {context.function} cannot be decoded by the {codec.name} codec: {exception_line(error)}"
        ) from error
