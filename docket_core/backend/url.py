"""A backend's URL: its parts, its options, and a form that is fit to be shown."""

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from docket_core.errors import BadOption, ConfigurationError

_SECRET_OPTIONS = ("password", "passwd", "secret", "token", "key", "credential")


class BackendURL(NamedTuple):
    """`scheme://rest?options`. What lies between scheme and options is the backend's affair."""

    scheme: str
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
    """`url` without its password and secret options, fit for messages and logs."""
    head, question, query = url.partition("?")
    scheme, separator, rest = head.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        userinfo, at, hosts = authority.rpartition("@")
        if not at and "@" in path:  # a password with an unquoted slash: hide all up to the last @
            userinfo, at, rest_of_path = rest.rpartition("@")
            hosts, slash, path = rest_of_path.partition("/")
        if at:
            user, colon, _ = userinfo.partition(":")
            userinfo = f"{user}:***" if colon else user
        head = f"{scheme}://{userinfo}{at}{hosts}{slash}{path}"
    if not question:
        return head
    shown: list[str] = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        secret = any(word in name.lower() for word in _SECRET_OPTIONS) or "://" in unquote(part)
        shown.append(f"{name}{equals}***" if secret and equals else part)
    return f"{head}?{'&'.join(shown)}"


def parse_url(url: str) -> BackendURL:
    """Split a backend's URL.

    Raises:
        ConfigurationError: it has no scheme, or repeats an option.
    """
    head, _, query = url.partition("?")
    scheme, separator, _ = head.partition("://")
    if not separator or not scheme or not all(part.isalnum() for part in scheme.replace("+", "-").split("-")):
        raise ConfigurationError(
            f"{redact(url)!r} is no backend URL; it has the form scheme://…, such as sqlite:///docket.db or memory://name"
        )
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise BadOption(f"the option {name!r} stands twice in {redact(url)!r}; give it once")
        options[name] = value
    return BackendURL(urlsplit(url).scheme, head, options, redact(url))
