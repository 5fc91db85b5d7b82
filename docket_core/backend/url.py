"""A backend's URL: its parts, its options, and a form that is fit to be shown."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, unquote_plus

from docket_core.errors import BadOption, ConfigurationError

_SECRET_WORDS = ("pass", "pwd", "secret", "token", "key", "credential", "auth")
_HOSTS = re.compile(r"[^:/@]*(:\d+)?(,[^:/@]*(:\d+)?)*(/.*)?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9]*([+-][A-Za-z0-9]+)*")


class BackendURL(NamedTuple):
    """`scheme://rest?options`. What lies between scheme and options is the backend's affair."""

    scheme: str
    """In lower case."""
    text: str
    """The whole URL without its query string, secrets included: for the backend's driver, never for people."""
    options: dict[str, str]
    redacted: str
    """The whole URL with passwords and secret options replaced by `***`."""

    def __repr__(self) -> str:
        return f"BackendURL({self.redacted!r})"

    @property
    def location(self) -> str:
        """What follows `scheme://`, unquoted."""
        return unquote(self.text.partition("://")[2])


def redact(url: str) -> str:
    """`url` without its password and secret options, fit for messages and logs.

    In doubt it hides too much: a password may hold an unquoted `@`, `:`, `/`, `#` or `?`, and the text may be no
    URL at all.
    """
    head, question, query = _split(url)
    colon, at = head.find(":", _start(head)), head.rfind("@")
    if 0 <= colon < at:
        head = f"{head[:colon]}:***{head[at:]}"
    return head + question + "&".join(_shown(part) for part in query.split("&"))


def is_secret(option: str) -> bool:
    """Whether the value of an option of this name must not be shown."""
    name = option.lower()
    return any(word in name for word in _SECRET_WORDS)


def parse_url(url: str) -> BackendURL:
    """Split a backend's URL.

    Raises:
        ConfigurationError: it has no scheme, or a password with an unquoted question mark.
        BadOption: it repeats an option.
    """
    redacted = redact(url)
    head, _, query = _split(url)
    scheme, separator, _ = head.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise ConfigurationError(
            f"{redacted!r} is no backend URL; it has the form scheme://…, such as sqlite:///docket.db or memory://name"
        )
    if "?" in head:
        raise ConfigurationError(f"in {redacted!r} the question mark before the @ must be written as %3F")
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise BadOption(f"the option {name!r} stands twice in {redacted!r}; give it once")
        options[name] = value
    return BackendURL(scheme.lower(), head, options, redacted)


def _start(head: str) -> int:
    """Where user, password and hosts begin."""
    return head.find("://") + 3 if "://" in head else 0


def _split(url: str) -> tuple[str, str, str]:
    """What stands before the options, the question mark, the options.

    A question mark inside what must be a password stays in the first part.
    """
    head, question, query = url.partition("?")
    hosts = head[_start(head) :]
    in_password = "@" in query and "@" not in hosts and not _HOSTS.fullmatch(hosts)
    if in_password or "@" in query.partition("=")[0]:
        end = url.rindex("@")
        rest, question, query = url[end:].partition("?")
        head = url[:end] + rest
    return head, question, query


def _shown(part: str) -> str:
    """One option as it may be shown."""
    name, equals, value = part.partition("=")
    plain = unquote_plus(value)
    nested = "://" in plain or ":" in plain.rpartition("@")[0] or ("=" in plain and is_secret(plain))
    return f"{name}{equals}***" if equals and (nested or is_secret(unquote_plus(name))) else part
