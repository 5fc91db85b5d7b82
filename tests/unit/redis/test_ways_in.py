"""The ways to a server: host and port, socket, account, database, TLS."""

import pytest

from docket_core.backend.registry import open_backend
from docket_core.errors import BackendUnavailable
from tests.support.servers.redis import RedisServer
from tests.support.servers.tls import CERTIFICATE, tls_in_front
from tests.unit.redis.support import NAME, add, drain


async def works(url: str) -> None:
    async with open_backend(url, NAME, retention=0) as backend:
        await add(backend, ["a"])
        assert await drain(backend) == 1


async def test_socket(oldest: RedisServer) -> None:
    await works(oldest.unix_url)
    await works(f"{oldest.unix_url}?db=3")


async def test_valkey_is_the_same(oldest: RedisServer) -> None:
    await works(oldest.url.replace("redis", "valkey"))


async def test_database(oldest: RedisServer) -> None:
    async with open_backend(f"{oldest.url}/1", NAME) as one, open_backend(f"{oldest.url}/2", NAME) as other:
        await add(one, ["a"])
        assert await other.counts() == []
        assert await drain(one) == 1
    with pytest.raises(BackendUnavailable, match="refuses"):
        await works(f"{oldest.url}/99")


async def test_password(oldest: RedisServer) -> None:
    oldest.command("ACL", "SETUSER", "some/body", "on", ">pass#word", "~*", "&*", "+@all")
    place = oldest.url.removeprefix("redis://")
    await works(f"redis://some%2Fbody:pass%23word@{place}")
    await works(f"redis://some%2Fbody:pass#word@{place}")
    with pytest.raises(BackendUnavailable, match="WRONGPASS") as refused:
        await works(f"redis://some%2Fbody:wrong@{place}")
    assert "wrong@" not in str(refused.value)


async def test_tls(oldest: RedisServer) -> None:
    async with tls_in_front(oldest.port) as port:
        await works(f"rediss://localhost:{port}?ssl_ca_certs={CERTIFICATE}")
        await works(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
        with pytest.raises(BackendUnavailable, match="certificate"):
            await works(f"rediss://localhost:{port}")
