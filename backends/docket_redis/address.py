"""From a URL to where the server is and how to log in."""

import ssl
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from docket_core.backend.hookspecs import OptionValue
from docket_core.backend.url import BackendURL
from docket_core.errors import BadOption, ConfigurationError

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379


class Node(NamedTuple):
    """One place to connect to: a host and port, or the path of a socket."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        return self.path if self.path is not None else f"{self.host}:{self.port}"


class Login(NamedTuple):
    """An account of a server; without a password nobody logs in."""

    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Login({self.username!r})"


class Topology(StrEnum):
    """How the server that a docket is on is found."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class Address(NamedTuple):
    """All that is needed to connect."""

    topology: Topology
    nodes: tuple[Node, ...]
    """The server; the sentinels; or some nodes of the cluster."""
    login: Login
    db: int
    tls: ssl.SSLContext | None
    timeout: float
    """Seconds without an answer after which the server counts as away."""
    service: str = ""
    """The name under which the sentinels know the server."""
    sentinel_login: Login = Login()

    def __repr__(self) -> str:
        return f"Address({', '.join(map(str, self.nodes))})"


def address_of(url: BackendURL, options: Mapping[str, OptionValue | None]) -> Address:
    """Where the server of `url` is.

    Raises:
        ConfigurationError: the URL names no server, or a port or database that is no number.
    """
    base, _, kind = url.scheme.partition("+")
    topology = Topology(kind or "single")
    rest = url.text.partition("://")[2]
    userinfo, _, rest = rest.rpartition("@") if not rest.startswith("/") else ("", "", rest)
    username, colon, password = userinfo.partition(":")
    hosts, slash, path = rest.partition("/")
    path = unquote(slash + path)
    nodes: tuple[Node, ...]
    service = ""
    if base == "unix":
        if hosts or not path:
            raise ConfigurationError(f"{url.redacted!r} names no socket; it has the form unix:///path/to/redis.sock")
        nodes, database = (Node("", 0, path),), ""
    else:
        port = SENTINEL_PORT if topology is Topology.SENTINEL else DEFAULT_PORT
        nodes = tuple(_node(text, port, url) for text in hosts.split(","))
        database = path.strip("/")
    if topology is Topology.SENTINEL:
        service, _, database = database.partition("/")
        if not service:
            raise ConfigurationError(
                f"{url.redacted!r} names no service; it has the form redis+sentinel://host:26379,other:26379/service"
            )
    elif len(nodes) > 1 and topology is Topology.SINGLE:
        raise ConfigurationError(f"{url.redacted!r} names several servers; redis+cluster:// takes several nodes")
    sentinel_user, sentinel_password = options.get("sentinel_username"), options.get("sentinel_password")
    return Address(
        topology,
        nodes,
        Login(unquote(username) or None, unquote(password) if colon else None),
        _database(database, options.get("db"), url),
        _tls(options) if base == "rediss" else None,
        float(options.get("timeout") or 5),
        service,
        Login(
            None if sentinel_user is None else str(sentinel_user),
            None if sentinel_password is None else str(sentinel_password),
        ),
    )


def _node(text: str, default: int, url: BackendURL) -> Node:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url.redacted!r} has a port that is no number up to 65535") from error
    return Node(parts.hostname or "localhost", default if port is None else port)


def _database(text: str, option: OptionValue | None, url: BackendURL) -> int:
    if "+cluster" in url.scheme and (text or option):
        raise ConfigurationError(f"{url.redacted!r} names a database, but a cluster has only one")
    if text and option is not None:
        raise BadOption(f"{url.redacted!r} names the database twice, in its path and as option; give it once")
    if text and not text.isdecimal():
        raise ConfigurationError(f"the path of {url.redacted!r} is no database; it is a number, such as redis://host/0")
    return int(text or option or 0)


def _tls(options: Mapping[str, OptionValue | None]) -> ssl.SSLContext:
    authorities = options.get("ssl_ca_certs")
    try:
        context = ssl.create_default_context(cafile=str(authorities) if authorities is not None else None)
    except OSError as error:
        raise BadOption(f"ssl_ca_certs: the certificates in {authorities!r} cannot be read: {error}") from error
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
