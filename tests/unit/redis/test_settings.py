"""What a backend says of the server when it is opened."""

import logging

import pytest

from docket_core.backend.capabilities import Durability
from docket_core.errors import BackendUnavailable, Overloaded, SchemaMismatch
from docket_redis.connection import ServerError, translated
from tests.support.servers.ports import free_port
from tests.support.servers.redis import RedisServer
from tests.unit.redis.support import opened


async def test_without_a_log_a_crash_may_lose_tasks(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as server:
        for _ in range(2):  # a docket opens its store more than once; it is said once
            async with opened(server) as backend:
                assert backend.capabilities.durability is Durability.PROCESS
    assert caplog.text.count("may lose acknowledged tasks") == 1


async def test_with_a_log_on_disk_none_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(aof=True) as server:
        async with opened(server) as backend:
            assert backend.capabilities.durability is Durability.FSYNC
    assert not caplog.records


async def test_a_log_that_is_flushed_later_is_not_enough() -> None:
    with RedisServer(None, "--appendonly", "yes", "--appendfsync", "everysec") as server:
        async with opened(server) as backend:
            assert backend.capabilities.durability is Durability.PROCESS


async def test_eviction_is_reported_loudly(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        async with opened(server):
            pass
    finally:
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    [loud] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "DELETES TASKS" in loud.getMessage()


async def test_another_layout_is_refused(server: RedisServer) -> None:
    server.command("HSET", "docket:{elsewhere}:m", "v", "99")
    with pytest.raises(SchemaMismatch, match="99"):
        await opened(server, "elsewhere").__aenter__()


async def test_a_server_that_is_away_is_unavailable() -> None:
    server = RedisServer(port=free_port())
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await opened(server).__aenter__()
    server.remove()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: f, on @user_script:1.", Overloaded),
        ("ERR Error running script (call to f_1): @user_script: 1: -OOM command not allowed", Overloaded),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist", Overloaded),
        ("READONLY You can't write against a read only replica.", BackendUnavailable),
        ("LOADING Redis is loading the dataset in memory", BackendUnavailable),
        ("BUSY Redis is busy running a script", BackendUnavailable),
        ("CLUSTERDOWN The cluster is down", BackendUnavailable),
        ("NOPERM this user has no permissions to run the 'eval' command", BackendUnavailable),
    ],
)
def test_what_the_servers_errors_mean(text: str, kind: type[Exception]) -> None:
    assert type(translated(ServerError(text))) is kind
