"""Payloads that carry a signature: bytes of who has no key are refused before anything decodes them."""

import hmac
from collections.abc import Sequence

from docket_core.codec import Codec, CodecContext
from docket_core.errors import PayloadRefused

_SIGNATURE_SIZE = 32
_SHORTEST_KEY = 16


class SignedCodec:
    """Another codec's bytes with a signature over them and what they belong to; nothing else is decoded.

    HMAC-SHA256 over docket, key, function, kind and bytes, verified before the inner codec sees anything: calls,
    results, exceptions and strikes alike. So who can write to the store but has no key cannot make anyone decode what
    they wrote. What they can do: put an old payload in the place of a newer one of the same docket, key, function and
    kind, delete, delay and repeat tasks, bring back a strike that was restored, and take strikes back.

    Args:
        codec: what encodes the value.
        keys: secrets of at least 16 bytes. The first signs; any of them is accepted, so keys can be changed by adding
            the new one last everywhere, then moving it to the front, then taking the old one out.

    Raises:
        ValueError: no key, or one that is too short.
    """

    def __init__(self, codec: Codec, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) < _SHORTEST_KEY for key in keys):
            raise ValueError(f"a signed codec needs at least one key, each of at least {_SHORTEST_KEY} bytes")
        self._codec = codec
        self._keys = [bytes(key) for key in keys]
        self.name = f"signed {codec.name}"

    def __repr__(self) -> str:
        return f"<SignedCodec of {self._codec.name} with {len(self._keys)} keys>"

    def encode(self, value: object, context: CodecContext) -> bytes:
        data = self._codec.encode(value, context)
        return self._signature(self._keys[0], data, context) + data

    def decode(self, data: bytes, context: CodecContext) -> object:
        given, inner = data[:_SIGNATURE_SIZE], data[_SIGNATURE_SIZE:]
        held = False
        for key in self._keys:  # all of them, so that the time taken tells nothing
            held |= hmac.compare_digest(given, self._signature(key, inner, context))
        if not held:
            raise PayloadRefused(f"the bytes of {context.function} {context.key!r} have no signature that holds here")
        return self._codec.decode(inner, context)

    @staticmethod
    def _signature(key: bytes, data: bytes, context: CodecContext) -> bytes:
        mac = hmac.new(key, digestmod="sha256")
        for part in (*(name.encode() for name in context), data):
            mac.update(len(part).to_bytes(8, "big"))  # so that no part can pass as the end of another
            mac.update(part)
        return mac.digest()


def signed(codec: Codec, keys: Sequence[bytes]) -> SignedCodec:
    """`codec` with signatures; see `SignedCodec`."""
    return SignedCodec(codec, keys)
