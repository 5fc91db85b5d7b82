"""Another client of a server, in a process of its own, that notes how long it waits for the simplest answer.

What is measured is the server, not who else computes on this machine: where they may, the client and what serves it go
before all others, and the time that they stood in line for a processor all the same is taken off.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg

EVERY = 0.001
ROOT = Path(__file__).resolve().parent.parent.parent


@asynccontextmanager
async def pinging(port: int, protocol: str) -> AsyncGenerator[list[float], None]:
    """Let another client ping meanwhile; afterwards the list has what each ping took, in seconds."""
    command = [sys.executable, "-m", "tests.support.pings", str(port), protocol]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    took: list[float] = []
    try:
        await process.stdout.readline()  # it has begun
        yield took
    finally:
        out, _ = await process.communicate(b"\n")
        took += json.loads(out)


def _in_line(process: int) -> float:
    """Seconds that a process has stood in line for a processor so far, where the system tells."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


async def _until_told(server: int, ping: Callable[[], Awaitable[object]]) -> list[float]:
    """What each ping of this server process took, until a line comes in."""
    both = (os.getpid(), server)
    for process in both:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process, -15)
    told = asyncio.ensure_future(asyncio.to_thread(sys.stdin.readline))
    print(flush=True)
    took: list[float] = []
    while not told.done():
        waited, began = sum(map(_in_line, both)), time.perf_counter()
        await ping()
        seconds = time.perf_counter() - began
        took.append(seconds - (sum(map(_in_line, both)) - waited))
        await asyncio.sleep(EVERY)
    return took


async def _redis(port: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"INFO server\r\n")
    size = int((await reader.readline())[1:])
    facts = (await reader.readexactly(size + 2)).decode()
    server = int(facts.partition("process_id:")[2].split()[0])

    async def ping() -> None:
        writer.write(b"PING\r\n")
        await reader.readline()

    try:
        return await _until_told(server, ping)
    finally:
        writer.close()


async def _postgres(port: int) -> list[float]:
    connection = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    try:
        return await _until_told(connection.get_server_pid(), lambda: connection.execute("select 1"))
    finally:
        await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("protocol", choices=["redis", "postgres"])
    options = parser.parse_args()
    print(json.dumps(asyncio.run((_redis if options.protocol == "redis" else _postgres)(options.port))))


if __name__ == "__main__":
    main()
