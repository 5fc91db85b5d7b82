"""Results that are kept elsewhere than in the docket's store: in any py-key-value store."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol, cast

from docket_core.errors import ResultExpired

_MARK = b"\0docket-result:"
"""No codec's bytes begin with a zero byte: what does is a reference."""


class KeyValueStore(Protocol):
    """What is used of a py-key-value `AsyncKeyValue` store."""

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None: ...

    async def put(
        self, key: str, value: Mapping[str, Any], *, collection: str | None = None, ttl: float | None = None
    ) -> None: ...

    async def delete(self, key: str, *, collection: str | None = None) -> bool: ...


class ResultStorage:
    """Writes results before their ack, under the task's key and the grant's token, and finds them again.

    Args:
        store: where to.
        docket: the docket's name; each has a collection of its own.
        ttl: how long results are kept.
    """

    def __init__(self, store: KeyValueStore, docket: str, ttl: timedelta) -> None:
        self._store = store
        self._collection = f"docket-results-{docket}"
        self._ttl = ttl.total_seconds()

    async def put(self, key: str, token: int, data: bytes) -> bytes:
        """Keep a result; answers the reference that goes into the ack in its place."""
        name = f"{key}:{token}"
        await self._store.put(
            name, {"result": base64.b64encode(data).decode()}, collection=self._collection, ttl=self._ttl or None
        )
        return _MARK + name.encode()

    async def get(self, reference: bytes) -> bytes:
        """The result behind a reference.

        Raises:
            ResultExpired: it is not kept any more.
        """
        name = storage_key(reference)
        value = await self._store.get(name, collection=self._collection)
        if value is None:
            raise ResultExpired(f"the result {name!r} is not kept any more")
        return base64.b64decode(cast("str", value["result"]))

    async def delete(self, reference: bytes) -> None:
        """Take a result back whose ack was lost."""
        await self._store.delete(storage_key(reference), collection=self._collection)


def is_reference(data: bytes | None) -> bool:
    """Whether these bytes of an ack stand for a result that is kept elsewhere."""
    return data is not None and data.startswith(_MARK)


def storage_key(reference: bytes) -> str:
    """The name under which it is kept."""
    return reference[len(_MARK) :].decode()
