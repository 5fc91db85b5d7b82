"""URLs of backends: how they are split, and that nothing secret is ever shown."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docket_core.backend.url import is_secret, parse_url, redact
from docket_core.errors import BadOption, ConfigurationError
from tests.support.texts import texts

SECRET = "geheim"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user@localhost/0", "redis://user@localhost/0"),
        ("redis://user:geheim@localhost:6379/0", "redis://user:***@localhost:6379/0"),
        ("redis://:geheim@localhost/0", "redis://:***@localhost/0"),
        ("redis://user:@localhost/0", "redis://user:***@localhost/0"),
        ("redis+sentinel://u:geheim@h1:1,h2:2/main?db=1", "redis+sentinel://u:***@h1:1,h2:2/main?db=1"),
        ("postgres://u:gehe@im@host/db", "postgres://u:***@host/db"),
        ("postgres://u:gehe:im@host/db", "postgres://u:***@host/db"),
        ("postgres://u:gehe/im@host/db", "postgres://u:***@host/db"),
        ("postgres://u:gehe#im@host/db", "postgres://u:***@host/db"),
        ("postgres://u:gehe?im@host/db?a=1", "postgres://u:***@host/db?a=1"),
        ("postgres://u:gehe?i=m@host/db", "postgres://u:***@host/db"),
        ("postgres://u:ge@he?im@host/db", "postgres://u:***@host/db"),
        ("postgres://u:gehe%40im@host/db", "postgres://u:***@host/db"),
        ("redis://[::1]:6379/0?label=a@b", "redis://[:***@b"),  # in doubt too much is hidden
        ("redis://host:6379/0?label=a@b", "redis://host:6379/0?label=a@b"),
        ("redis://h/0?password=geheim&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h/0?SSL_KeyFile=geheim", "redis://h/0?SSL_KeyFile=***"),
        ("redis://h/0?sslpass%77ord=geheim", "redis://h/0?sslpass%77ord=***"),
        ("redis://h/0?auth_token=geheim&pwd=geheim", "redis://h/0?auth_token=***&pwd=***"),
        ("sqlite:///a.db?mirror=redis://u:geheim@h", "sqlite:///a.db?mirror=***"),
        ("sqlite:///a.db?mirror=redis%3A%2F%2Fu%3Ageheim%40h", "sqlite:///a.db?mirror=***"),
        ("redis://h/0?mirror=u:geheim@h", "redis://h/0?mirror=***"),
        ("postgres://h/db?options=-c%20my.secret%3Dgeheim", "postgres://h/db?options=***"),
        ("redis://h/0?password", "redis://h/0?password"),
        ("memory://a@b", "memory://a@b"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("no url, u:geheim@h", "no url, u:***@h"),
        ("redis:/u:geheim@h", "redis:***@h"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert redact(url) == shown
    assert SECRET not in shown


@given(
    user=st.text(string.ascii_letters, max_size=5),
    password=st.text(string.ascii_letters + string.digits + "@:/#%&=+ é", min_size=1).map(lambda text: f"<{text}>"),
    tail=st.sampled_from(["", "/0", "/0?db=1", "?db=1", "/0#x"]),
)
def test_no_part_of_a_password_written_as_it_is_shows(user: str, password: str, tail: str) -> None:
    assert redact(f"redis://{user}:{password}@host{tail}") == f"redis://{user}:***@host{tail}"


@given(password=texts(min_size=1))
def test_no_quoted_password_shows_and_the_driver_gets_it(password: str) -> None:
    quoted = quote(password.encode(errors="replace"), safe="")
    url = parse_url(f"redis://user:{quoted}@host/0?db=1")
    assert url.redacted == "redis://user:***@host/0?db=1"
    assert url.text == f"redis://user:{quoted}@host/0"
    assert repr(url) == str(url) == f"{url}" == "BackendURL('redis://user:***@host/0?db=1')"


@pytest.mark.parametrize(
    "name", ["password", "PassWord", "sslpassword", "api_key", "auth_token", "client_secret", "pwd"]
)
def test_names_of_secret_options(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["db", "timeout", "max_tasks", "synchronous", "prefix"])
def test_names_of_other_options(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("text", "scheme", "location", "options"),
    [
        ("memory://", "memory", "", {}),
        ("memory://tests", "memory", "tests", {}),
        ("sqlite:///docket.db", "sqlite", "/docket.db", {}),
        ("sqlite:///a%20b.db?synchronous=full", "sqlite", "/a b.db", {"synchronous": "full"}),
        ("REDIS+Cluster://h:1/0?a=1&b=&c", "redis+cluster", "h:1/0", {"a": "1", "b": "", "c": ""}),
        ("redis://h?x=a%26b+c", "redis", "h", {"x": "a&b c"}),
    ],
)
def test_parts_of_a_url(text: str, scheme: str, location: str, options: dict[str, str]) -> None:
    url = parse_url(text)
    assert (url.scheme, url.location, url.options) == (scheme, location, options)


@pytest.mark.parametrize(
    "text", ["", "memory", "://x", "memory:/x", "me mory://x", "+x://y", "x+://y", "é://x", "u:geheim@h", "a\n://x"]
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no backend URL; it has the form scheme://") as caught:
        parse_url(text)
    assert SECRET not in str(caught.value)


def test_a_question_mark_in_a_password_must_be_quoted() -> None:
    with pytest.raises(ConfigurationError, match=r"redis://u:\*\*\*@h/0.*%3F"):
        parse_url("redis://u:gehe?im@h/0")


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(BadOption, match=r"'db' stands twice in 'redis://:\*\*\*@h/0\?db=1&db=2'"):
        parse_url("redis://:geheim@h/0?db=1&db=2")
