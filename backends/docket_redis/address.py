"""From a URL to where the server is and how to log in."""

import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from docket_core.backend.hookspecs import OptionValue
from docket_core.backend.url import BackendURL
from docket_core.errors import BadOption, ConfigurationError

DEFAULT_PORT = 6379


class Node(NamedTuple):
    """One place to connect to: a host and port, or the path of a socket."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        return self.path if self.path is not None else f"{self.host}:{self.port}"


class Address(NamedTuple):
    """All that is needed to connect."""

    nodes: tuple[Node, ...]
    username: str | None
    password: str | None
    db: int
    tls: ssl.SSLContext | None
    timeout: float
    """Seconds without an answer after which the server counts as away."""

    def __repr__(self) -> str:
        return f"Address({', '.join(map(str, self.nodes))})"


def address_of(url: BackendURL, options: Mapping[str, OptionValue | None]) -> Address:
    """Where the server of `url` is.

    Raises:
        ConfigurationError: the URL names no server, or a port or database that is no number.
    """
    parts = urlsplit(url.text)
    userinfo, _, hosts = parts.netloc.rpartition("@")
    username, colon, password = userinfo.partition(":")
    path = unquote(parts.path)
    nodes: tuple[Node, ...]
    if parts.scheme == "unix":
        if hosts or not path:
            raise ConfigurationError(f"{url.redacted!r} names no socket; it has the form unix:///path/to/redis.sock")
        nodes, database = (Node("", 0, path),), ""
    else:
        nodes = tuple(_node(text, url) for text in hosts.split(","))
        database = path.strip("/")
    return Address(
        nodes,
        unquote(username) or None,
        unquote(password) if colon else None,
        _database(database, options.get("db"), url),
        _tls(options) if parts.scheme == "rediss" else None,
        float(options.get("timeout") or 5),
    )


def _node(text: str, url: BackendURL) -> Node:
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url.redacted!r} has a port that is no number up to 65535") from error
    return Node(parts.hostname or "localhost", DEFAULT_PORT if port is None else port)


def _database(text: str, option: OptionValue | None, url: BackendURL) -> int:
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
