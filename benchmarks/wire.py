"""A bare connection to Redis: what is measured through it is the server's price and the loop's, and no framework's."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self, cast
from urllib.parse import urlsplit

import hiredis

Command = tuple[str | bytes | int, ...]
_pack = cast("Callable[[Command], bytes]", getattr(hiredis, "pack_command"))  # noqa: B009 - its stub says one argument


class Wire:
    """Commands and replies, in order."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        self._parser = hiredis.Reader()

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._place.hostname, self._place.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def ask(self, *command: str | bytes | int) -> Any:
        (reply,) = await self.pipeline([command])
        return reply

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        self._writer.write(b"".join(_pack(command) for command in commands))
        return await self.replies(len(commands))

    async def replies(self, number: int) -> list[Any]:
        """The next replies; those of a subscription are nobody's answers."""
        replies: list[Any] = []
        while len(replies) < number:
            reply = self._parser.gets()
            if reply is False:
                self._parser.feed(await self._reader.read(65536))
            elif isinstance(reply, hiredis.ReplyError):
                raise reply
            else:
                replies.append(reply)
        return replies
