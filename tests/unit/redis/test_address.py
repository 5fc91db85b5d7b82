"""From a URL to where the server is."""

import ssl

import pytest

from docket_core.backend.hookspecs import OptionValue
from docket_core.backend.registry import load_plugin, open_backend
from docket_core.backend.url import parse_url
from docket_core.errors import BadOption, ConfigurationError
from docket_redis.address import Address, Node, Topology, address_of


def address(url: str, **options: OptionValue | None) -> Address:
    return address_of(parse_url(url), options)


@pytest.mark.parametrize(
    ("url", "node"),
    [
        ("redis://", Node("localhost", 6379)),
        ("redis://example.com", Node("example.com", 6379)),
        ("redis://example.com:6380/2", Node("example.com", 6380)),
        ("valkey://[::1]:7000", Node("::1", 7000)),
        ("unix:///run/redis.sock", Node("", 0, "/run/redis.sock")),
        ("unix://me:pass@/run/a%20b.sock", Node("", 0, "/run/a b.sock")),
    ],
)
def test_node(url: str, node: Node) -> None:
    assert address(url).nodes == (node,)


def test_user_and_password_are_unquoted() -> None:
    found = address("redis://me%40home:p%3Aw%2Fd@example.com")
    assert found.login == ("me@home", "p:w/d")


def test_a_password_may_hold_anything() -> None:
    assert address("redis://:a/b#c@d@example.com/1").login == (None, "a/b#c@d")
    assert address("redis://example.com").login == (None, None)


def test_no_secret_is_shown() -> None:
    assert "secret" not in repr(address("redis://me:secret@example.com"))


def test_sentinels_and_the_service() -> None:
    found = address("redis+sentinel://one,two:26380/main/2", sentinel_password="secret")
    assert (found.topology, found.service, found.db) == (Topology.SENTINEL, "main", 2)
    assert found.nodes == (Node("one", 26379), Node("two", 26380))
    assert found.sentinel_login == (None, "secret")
    with pytest.raises(ConfigurationError, match="no service"):
        address("redis+sentinel://one")


def test_nodes_of_a_cluster() -> None:
    assert address("redis+cluster://one:7000,two:7001").nodes == (Node("one", 7000), Node("two", 7001))
    with pytest.raises(ConfigurationError, match="only one"):
        address("redis+cluster://one/1")
    with pytest.raises(ConfigurationError, match="several"):
        address("redis://one,two")


def test_database_by_path_or_option() -> None:
    assert address("redis://host/3").db == 3
    assert address("unix:///run/redis.sock", db=4).db == 4
    with pytest.raises(BadOption, match="twice"):
        address("redis://host/3", db=4)


def test_tls_checks_certificates_unless_told_otherwise() -> None:
    assert address("redis://host").tls is None
    checked = address("rediss://host", ssl_cert_reqs="required").tls
    unchecked = address("rediss://host", ssl_cert_reqs="none").tls
    assert checked is not None
    assert checked.verify_mode is ssl.CERT_REQUIRED
    assert unchecked is not None
    assert unchecked.verify_mode is ssl.CERT_NONE
    with pytest.raises(BadOption, match="ssl_ca_certs"):
        address("rediss://host", ssl_ca_certs="/nowhere/ca.pem")


@pytest.mark.parametrize(
    "url", ["redis://host:port", "redis://host:70000", "redis://host/name", "unix://", "unix://host/x"]
)
def test_useless_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        address(url)


@pytest.mark.parametrize(
    "scheme",
    ["redis", "rediss", "unix", "valkey", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"],
)
def test_schemes_lead_here(scheme: str) -> None:
    plugin = load_plugin(scheme)
    assert scheme in plugin.schemes
    assert plugin.extra == "docket-core[redis]"


def test_unknown_options_are_refused() -> None:
    with pytest.raises(BadOption, match="tiemout"):
        open_backend("redis://host?tiemout=3", "orders")
