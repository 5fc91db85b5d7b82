"""From a URL to a backend: every way in which that can go wrong says what to do about it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from docket_core.backend.hookspecs import Opening
from docket_core.backend.protocol import PROTOCOL, Backend
from docket_core.backend.registry import installed_schemes, load_plugin, open_backend
from docket_core.errors import (
    BadOption,
    ConfigurationError,
    InvalidKey,
    MissingExtra,
    ProtocolMismatch,
    UnknownScheme,
)
from tests.support.plugins import Plugins

ACME = """
    from docket_core.backend.hookspecs import BackendPlugin, Option, hookimpl
    from docket_core.backend.kit import whole_number

    def _open(opening):
        {body}

    @hookimpl
    def docket_core_backend():
        return BackendPlugin(
            title="Acme",
            schemes=("acme", "acmes"),
            open=_open,
            options={{
                "depth": Option(whole_number(1, 9), 3, "how deep, from 1 to 9"),
                "api_key": Option(whole_number(), None, "a number you got from Acme"),
            }},
            driver="acme_driver",
            extra="docket-acme[driver]",
            protocol={protocol},
        )
"""


def acme(body: str = "return opening", protocol: int = PROTOCOL) -> str:
    return ACME.format(body=body, protocol=protocol)


def opening_of(url: str) -> Opening:
    """What the plugin of these tests was told."""
    given: Any = open_backend(url, "orders")
    assert isinstance(given, Opening)
    return given


def test_memory_is_opened_by_its_url() -> None:
    backend = open_backend("memory://here", "orders")
    assert isinstance(backend, Backend)
    assert (backend.name, backend.url) == ("orders", "memory://here")


def test_memory_and_sqlite_are_always_there() -> None:
    assert {"memory", "sqlite"} <= set(installed_schemes())


def test_an_unknown_scheme_is_told_what_is_installed() -> None:
    with pytest.raises(UnknownScheme, match=r"'cassette'; installed are: .*memory.*sqlite.*installing its package"):
        open_backend("cassette://h", "orders")


def test_a_third_party_is_found_by_its_entry_point(plugins: Plugins) -> None:
    plugins.install("acme_plugin", acme(), "acme")
    opening = opening_of("acme://h")
    assert opening.url.location == "h"
    assert opening.options == {"depth": 3, "api_key": None}


def test_two_schemes_on_one_module(plugins: Plugins) -> None:
    plugins.install("acme_plugin", acme(), "acme", "acmes")
    assert opening_of("acme://a").url.scheme == "acme"
    assert opening_of("acmes://a").url.scheme == "acmes"
    assert opening_of("acme://a").url.scheme == "acme"


def test_options_are_parsed_by_the_plugins_own_parsers(plugins: Plugins) -> None:
    plugins.install("acme_plugin", acme(), "acme")
    assert opening_of("acme://h?depth=7&api_key=12").options == {"depth": 7, "api_key": 12}


def test_an_unknown_option_is_told_the_known_ones(plugins: Plugins) -> None:
    plugins.install("acme_plugin", acme(), "acme")
    with pytest.raises(BadOption, match=r"'dept'.*Acme knows: api_key \(a number.*\), depth \(how deep, from 1 to 9\)"):
        open_backend("acme://h?dept=7", "orders")


def test_a_plugin_without_options_says_so() -> None:
    with pytest.raises(BadOption, match="memory knows: max_tasks"):
        open_backend("memory://h?size=1", "orders")


def test_a_bad_value_is_told_what_the_option_takes(plugins: Plugins) -> None:
    plugins.install("acme_plugin", acme(), "acme")
    with pytest.raises(BadOption, match=r"'depth' in 'acme://u:\*\*\*@h\?depth=10'.*'10'.*from 1 to 9"):
        open_backend("acme://u:geheim@h?depth=10", "orders")


def test_a_bad_value_of_a_secret_option_does_not_show(plugins: Plugins) -> None:
    plugins.install("acme_plugin", acme(), "acme")
    with pytest.raises(BadOption, match=r"'api_key'.*a number you got from Acme") as caught:
        open_backend("acme://h?api_key=geheim", "orders")
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_what_a_plugin_is_told_shows_no_secret(plugins: Plugins) -> None:
    plugins.install("acme_plugin", acme(), "acme")
    opening = opening_of("acme://u:geheim@h?api_key=4711")
    assert repr(opening) == "Opening('acme://u:***@h?api_key=***', 'orders')"


@pytest.mark.parametrize("module", ["acme_driver", "acme_driver.aio"])
def test_a_missing_driver_names_the_extra(plugins: Plugins, module: str) -> None:
    plugins.install("acme_plugin", acme(f"import {module}"), "acme")
    with pytest.raises(MissingExtra, match=r"Acme.*'acme_driver'.*pip install 'docket-acme\[driver\]'"):
        open_backend("acme://h", "orders")


@pytest.mark.parametrize("module", ["acme_other", "acme_driverish"])
def test_another_missing_module_is_not_blamed_on_the_extra(plugins: Plugins, module: str) -> None:
    plugins.install("acme_plugin", acme(f"import {module}"), "acme")
    with pytest.raises(ModuleNotFoundError, match=module):
        open_backend("acme://h", "orders")


@pytest.mark.parametrize("protocol", [PROTOCOL - 1, PROTOCOL + 1])
def test_another_protocol_version_is_refused(plugins: Plugins, protocol: int) -> None:
    plugins.install("acme_plugin", acme(protocol=protocol), "acme")
    with pytest.raises(ProtocolMismatch, match=f"Acme backend speaks protocol {protocol}, .* speaks {PROTOCOL}"):
        load_plugin("acme")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "implements no docket_core_backend hook"),
        (None, "cannot be used: No module named 'acme_broken'"),
        ("import acme_absent", "cannot be used: No module named 'acme_absent'"),
        (
            """
            from docket_core.backend.hookspecs import hookimpl

            @hookimpl
            def docket_core_backend():
                return {"title": "Acme"}
            """,
            "answers dict to the hook; it must be a BackendPlugin",
        ),
        (
            """
            from docket_core.backend.hookspecs import hookimpl

            @hookimpl
            def docket_core_backend(url):
                return None
            """,
            "cannot be used:",
        ),
    ],
)
def test_an_entry_point_that_leads_to_nothing_usable(plugins: Plugins, source: str | None, words: str) -> None:
    plugins.install("acme_broken", source, "acme")
    with pytest.raises(ConfigurationError, match="entry point 'acme' leads to acme_broken") as caught:
        open_backend("acme://h", "orders")
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 513])
def test_a_dockets_name_has_bounds(name: str) -> None:
    with pytest.raises(InvalidKey, match="docket name"):
        open_backend("memory://h", name)


def test_only_the_plugin_that_is_asked_for_is_imported(plugins: Plugins) -> None:
    script = """
import json, sys
from docket_core.backend.registry import open_backend, installed_schemes
installed_schemes()
open_backend("memory://h", "orders")
print(json.dumps([name.partition(".")[0] for name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert "docket_memory" in loaded
    others = {point.value.partition(".")[0] for point in installed_schemes().values()} - {"docket_memory"}
    assert not loaded & (others | {"redis", "asyncpg", "aiosqlite", "sqlalchemy", "fakeredis"})
