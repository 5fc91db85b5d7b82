"""`docket backends [URL]`"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from docket_core.backend.hookspecs import BackendPlugin
from docket_core.backend.registry import installed_schemes, load_plugin
from docket_core.cli.output import console, print_json, say
from docket_core.cli.session import DEFAULT_NAME, AsJson, DocketName, run
from docket_core.docket import Docket
from docket_core.errors import DocketError


class Installed(NamedTuple):
    """A scheme, and what its plugin says; or why it cannot be used."""

    scheme: str
    module: str
    plugin: BackendPlugin | None
    problem: str | None


def backends(
    url: Annotated[str | None, typer.Argument(help="Open this store and show what it can do.")] = None,
    docket: DocketName = DEFAULT_NAME,
    as_json: AsJson = False,
) -> None:
    """Show which URL schemes are installed and their options; with a URL, what that store can do as it is set up."""
    if url is None:
        _show_installed(_installed(), as_json)
    else:
        _show_opened(run(_open(docket, url)), as_json)


def _installed() -> list[Installed]:
    found: list[Installed] = []
    for scheme, point in installed_schemes().items():
        try:
            found.append(Installed(scheme, point.value, load_plugin(scheme), None))
        except DocketError as error:
            found.append(Installed(scheme, point.value, None, str(error)))
    return found


async def _open(name: str, url: str) -> Mapping[str, object]:
    async with Docket(name, url).open_backend() as backend:  # not the docket, which would read the strikes
        return {"url": backend.url, **asdict(backend.capabilities)}


def _show_installed(found: list[Installed], as_json: bool) -> None:
    if as_json:
        print_json([_as_plain(one) for one in found])
        return
    table = Table("URL", "backend", "what it is", "options", title="installed backends", title_justify="left")
    by_module: dict[str, list[Installed]] = {}
    for one in found:
        by_module.setdefault(one.module, []).append(one)
    for module, served in by_module.items():
        schemes = "\n".join(f"{one.scheme}://" for one in served)
        plugin = served[0].plugin
        if plugin is None:
            table.add_row(schemes, module, f"cannot be used: {served[0].problem}", "")
        else:
            needs = f"\nneeds: pip install '{plugin.extra}'" if plugin.extra else ""
            table.add_row(schemes, plugin.title, plugin.summary + needs, "\n".join(_options(plugin)))
        table.add_section()
    console().print(table)


def _options(plugin: BackendPlugin) -> list[str]:
    shown = {name: "…" if option.default is None else option.default for name, option in plugin.options.items()}
    return [f"{name}={shown[name]}  {option.help}" for name, option in sorted(plugin.options.items())]


def _as_plain(one: Installed) -> dict[str, object]:
    shown: dict[str, object] = {"scheme": one.scheme, "plugin": one.module}
    if one.plugin is None:
        return shown | {"problem": one.problem}
    options = {name: {"default": o.default, "help": o.help} for name, o in one.plugin.options.items()}
    more = {"title": one.plugin.title, "summary": one.plugin.summary, "protocol": one.plugin.protocol}
    return shown | more | {"driver": one.plugin.driver, "extra": one.plugin.extra, "options": options}


def _show_opened(facts: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    say(str(facts["url"]))
    for name, value in facts.items():
        if name != "url":
            shown = ("yes" if value else "no") if isinstance(value, bool) else value
            say(f"  {name.replace('_', ' '):<16} {shown}{_UNITS.get(name, '')}")


_UNITS = {"time_resolution": " µs", "max_payload": " bytes"}
