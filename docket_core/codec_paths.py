"""Codecs that are named by text: on a command line, or in a variable."""

import importlib
from collections.abc import Callable
from typing import cast

from docket_core.codec import Codec, exception_line
from docket_core.errors import ConfigurationError


def as_codec(codec: "Codec | str | None") -> Codec | None:
    """A codec as it is, or the one that "module:attribute" names: a codec, or a class that makes one of nothing.

    Raises:
        ConfigurationError: the text leads to no codec.
    """
    if not isinstance(codec, str):
        return codec
    module_name, colon, attribute = codec.partition(":")
    if not colon or not module_name or not attribute:
        raise ConfigurationError(f"{codec!r} is no path to a codec; it has the form package.module:attribute")
    try:
        found: object = getattr(importlib.import_module(module_name), attribute)
        if isinstance(found, type):
            found = cast("Callable[[], object]", found)()
    except Exception as error:  # a module with a codec may read its keys, and raise anything where there are none
        raise ConfigurationError(f"the codec {codec!r} cannot be had: {exception_line(error)}") from error
    if not _is_codec(found):
        raise ConfigurationError(
            f"{codec!r} is no codec, which has a name, encode and decode, but {type(found).__name__}"
        )
    return cast("Codec", found)


def _is_codec(found: object) -> bool:
    if not isinstance(getattr(found, "name", None), str):
        return False
    return all(callable(getattr(found, method, None)) for method in ("encode", "decode"))
