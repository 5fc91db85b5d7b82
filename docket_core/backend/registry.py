"""From a URL to a backend: scheme, entry point, plugin. Only the plugin that is asked for is imported."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import pluggy

from docket_core.backend.capabilities import MEBIBYTE
from docket_core.backend.clock import SECOND, Clock, Micros
from docket_core.backend.hookspecs import (
    ENTRY_POINT_GROUP,
    PROJECT,
    BackendHooks,
    BackendPlugin,
    Opening,
    OptionValue,
)
from docket_core.backend.kit import check_label
from docket_core.backend.protocol import PROTOCOL, Backend
from docket_core.backend.url import BackendURL, is_secret, parse_url
from docket_core.errors import BadOption, ConfigurationError, MissingExtra, ProtocolMismatch, UnknownScheme

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def open_backend(
    url: str,
    name: str,
    *,
    retention: Micros = 900 * SECOND,
    max_payload: int = MEBIBYTE,
    clock: Clock | None = None,
) -> Backend:
    """The backend for `url`, not yet entered: `async with open_backend(url, "orders") as backend`.

    Raises:
        UnknownScheme: no installed plugin serves the scheme.
        MissingExtra: the plugin's driver is not installed.
        BadOption: the query string has an unknown option or a bad value.
        ProtocolMismatch: the plugin was written for another protocol version.
        InvalidKey: the name is outside its bounds.
    """
    check_label("docket name", name)
    parsed = parse_url(url)
    plugin = load_plugin(parsed.scheme)
    opening = Opening(parsed, name, retention, max_payload, clock, _options(parsed, plugin))
    with needing_driver(plugin):
        return plugin.open(opening)


def plugin_for(url: str) -> BackendPlugin:
    """The plugin that serves `url`, whose options are checked; opens nothing.

    Raises:
        UnknownScheme, BadOption, ProtocolMismatch: as `open_backend`.
    """
    parsed = parse_url(url)
    plugin = load_plugin(parsed.scheme)
    _options(parsed, plugin)
    return plugin


@contextmanager
def needing_driver(plugin: BackendPlugin) -> Generator[None, None, None]:
    """Say what to install where the plugin's driver, and nothing else, turns out to be missing.

    Raises:
        MissingExtra: it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if plugin.driver is None or (error.name or "").partition(".")[0] != plugin.driver:
            raise
        install = plugin.extra or plugin.driver
        raise MissingExtra(
            f"the {plugin.title} backend needs {plugin.driver!r}, which is not installed; run: pip install '{install}'"
        ) from error


def installed_schemes() -> "dict[str, EntryPoint]":
    """The schemes that can be asked for, and where their plugins are; imports none of them."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and not needed to import docket_core

    return {point.name: point for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name)}


@lru_cache(maxsize=8)
def _schemes_along(path: tuple[str, ...]) -> "dict[str, EntryPoint]":
    """`installed_schemes`, read once for each import path: it looks into every installed distribution."""
    del path
    return installed_schemes()


def load_plugin(scheme: str) -> BackendPlugin:
    """The description that the scheme's plugin gives of itself; imports this one plugin.

    Raises:
        UnknownScheme: no installed plugin serves the scheme.
        ProtocolMismatch: it was written for another protocol version.
        ConfigurationError: the entry point leads to nothing usable.
    """
    points = _schemes_along(tuple(sys.path))
    if scheme not in points:
        points = installed_schemes()  # it may have been installed since
    if scheme not in points:
        known = ", ".join(points) or "none"
        raise UnknownScheme(
            f"no installed backend serves the scheme {scheme!r}; installed are: {known}. "
            f"A third party's backend becomes known by installing its package."
        )
    manager = pluggy.PluginManager(PROJECT)  # fresh: two schemes may share one module
    manager.add_hookspecs(BackendHooks)
    leads = f"the entry point {scheme!r} leads to {points[scheme].value}, which"
    try:
        manager.register(points[scheme].load())
    except (ImportError, AttributeError, pluggy.PluginValidationError) as error:
        raise ConfigurationError(f"{leads} cannot be used: {error}") from error
    plugin = cast("object", manager.hook.docket_core_backend())
    if plugin is None:
        raise ConfigurationError(f"{leads} implements no docket_core_backend hook")
    if not isinstance(plugin, BackendPlugin):
        raise ConfigurationError(f"{leads} answers {type(plugin).__name__} to the hook; it must be a BackendPlugin")
    if plugin.protocol != PROTOCOL:
        raise ProtocolMismatch(
            f"the {plugin.title} backend speaks protocol {plugin.protocol}, this docket-core speaks {PROTOCOL}; "
            f"install versions of both that agree"
        )
    return plugin


def _options(url: BackendURL, plugin: BackendPlugin) -> dict[str, OptionValue | None]:
    unknown = sorted(set(url.options) - set(plugin.options))
    if unknown:
        known = ", ".join(f"{name} ({option.help})" for name, option in sorted(plugin.options.items())) or "none"
        raise BadOption(f"unknown option {unknown[0]!r} in {url.redacted!r}; {plugin.title} knows: {known}")
    values: dict[str, OptionValue | None] = {}
    for name, option in plugin.options.items():
        if name not in url.options:
            values[name] = option.default
            continue
        try:
            values[name] = option.parse(url.options[name])
        except ValueError as error:
            if is_secret(name):  # the parser's words would show it
                raise BadOption(f"bad value for the option {name!r} in {url.redacted!r}; {option.help}") from None
            raise BadOption(f"bad value for the option {name!r} in {url.redacted!r}: {error}") from error
    return values
