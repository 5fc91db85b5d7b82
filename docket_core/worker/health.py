"""Two questions over HTTP: `/live`, does the process serve; `/ready`, could the worker claim lately."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

_LIMIT = 8192


@asynccontextmanager
async def health_server(port: int, is_ready: Callable[[], bool], host: str = "0.0.0.0") -> AsyncGenerator[int, None]:  # noqa: S104 - probes come from outside the container
    """Serve `/live` and `/ready` on `port` (0 takes a free one) while inside; yields the port.

    `/live` answers 200 as long as the event loop turns. `/ready` answers 200 if the worker could claim lately and
    503 if not.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                request = await reader.readline()
                while (await reader.readline()).strip():
                    pass
            writer.write(_response(request.decode("latin-1"), is_ready))
            await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(answer, host, port, limit=_LIMIT)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _response(request: str, is_ready: Callable[[], bool]) -> bytes:
    method, _, rest = request.partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if method not in ("GET", "HEAD"):
        status, state = "405 Method Not Allowed", "only GET"
    elif path == "/live":
        status, state = "200 OK", "live"
    elif path == "/ready":
        ready = is_ready()
        status, state = ("200 OK", "ready") if ready else ("503 Service Unavailable", "not ready")
    else:
        status, state = "404 Not Found", "there are /live and /ready"
    body = json.dumps({"status": state}).encode()
    head = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + (body if method != "HEAD" else b"")
