"""What a backend's URL says: where the server is, and the options beside it."""

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from docket_core.backend.hookspecs import Opening
from docket_core.backend.url import parse_url, redact
from docket_core.errors import BadOption

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_PASSED_ON = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey")
SCHEMA = "docket"
"""The schema of docket's tables, unless the option `schema` names another."""


class Settings(NamedTuple):
    """A backend's options, checked."""

    dsn: str
    """For the driver: it has the password."""
    listen_dsn: str
    """The same for the connection that listens."""
    docket: str
    schema: str
    notify: bool
    prepared: bool
    pool: int
    timeout: float
    migrate: bool

    def __repr__(self) -> str:
        return f"Settings({redact(self.dsn)!r}, docket={self.docket!r}, schema={self.schema!r})"

    @property
    def channel(self) -> str:
        """The channel's name; a database has one namespace of 63 bytes for all, so it is hashed."""
        digest = hashlib.blake2b(f"{self.schema}\0{self.docket}".encode(), digest_size=16).hexdigest()
        return f"docket_{digest}_"

    @property
    def ear(self) -> int:
        """The advisory lock that is held, shared, by each session that listens for work or states.

        Who adds a task and gets it for itself, until it has committed, knows that nobody would hear of it; who begins
        to listen waits for that commit, and looks at the store then.
        """
        digest = hashlib.blake2b(f"{self.schema}\0{self.docket}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) >> 1


def settings_of(opening: Opening) -> Settings:
    """Read what a backend is opened with.

    Raises:
        BadOption: a value cannot be used.
    """
    options = opening.options
    passed_on = {name: str(value) for name in _PASSED_ON if (value := options.get(name)) is not None}
    dsn = driver_dsn(opening.url.text, passed_on)
    notify_url, timeout, pool = options.get("notify_url"), options.get("timeout"), options.get("pool")
    return Settings(
        dsn=dsn,
        listen_dsn=driver_dsn(notify_url, passed_on) if isinstance(notify_url, str) else dsn,
        docket=opening.name,
        schema=checked_schema(str(options.get("schema") or SCHEMA)),
        notify=bool(options.get("notify", True)),
        prepared=bool(options.get("prepared", True)),
        pool=pool if isinstance(pool, int) else 4,
        timeout=float(timeout) if isinstance(timeout, int) else 5.0,
        migrate=bool(options.get("migrate", True)),
    )


def target_of(url: str) -> tuple[str, str]:
    """Where a backend's URL leads: what the driver takes, and the schema.

    Raises:
        ConfigurationError: it is no such URL.
    """
    parsed = parse_url(url)
    passed_on = {name: parsed.options[name] for name in _PASSED_ON if name in parsed.options}
    return driver_dsn(parsed.text, passed_on), checked_schema(parsed.options.get("schema", SCHEMA))


def checked_schema(name: str) -> str:
    """`name`, if it can be a schema's.

    Raises:
        BadOption: it cannot.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise BadOption(
            f"bad value for the option 'schema': {name!r} is no plain name of letters, digits and '_' "
            f"of at most 63 characters"
        )
    return name


def driver_dsn(url: str, options: Mapping[str, str] | None = None) -> str:
    """The URL as asyncpg takes it, with those options that are its own.

    Raises:
        BadOption: it is no database URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise BadOption(f"{redact(url)!r} is no database URL such as postgresql://user@host/database") from error
    known = parsed.set(drivername="postgresql").update_query_dict(options or {})
    return known.render_as_string(hide_password=False)
