"""`docket migrate`"""

import os
from collections.abc import Awaitable
from typing import Annotated

import typer

from docket_core.backend.hookspecs import BackendPlugin, Migration
from docket_core.backend.registry import needing_driver, plugin_for
from docket_core.backend.url import redact
from docket_core.cli.output import print_json, say
from docket_core.cli.session import AsJson, Url, run
from docket_core.docket import DEFAULT_URL
from docket_core.errors import ConfigurationError


def migrate(
    url: Url = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL that would be run, and run nothing.")] = False,
    grants: Annotated[
        str | None, typer.Option("--grants", metavar="ROLE", help="Print what this role needs, and run nothing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create or upgrade the store's schema, or print the SQL for somebody who may.

    Workers and applications do it by themselves when they open a docket, unless their role may not: then run this
    once per version with a role that may, and give theirs the grants.
    """
    target = url or os.environ.get("DOCKET_URL") or DEFAULT_URL
    plugin = plugin_for(target)
    migration = _migration_of(plugin, target)
    with needing_driver(plugin):
        if sql:
            say(migration.sql(target).rstrip())
        if grants is not None:
            say(migration.grants(target, grants).rstrip())
        if not sql and grants is None:
            changed = run(_applied(migration.apply(target)))
            if as_json:
                print_json({"url": redact(target), "changed": changed})
            else:
                say("the schema has been made or upgraded" if changed else "the schema was up to date")


def _migration_of(plugin: BackendPlugin, url: str) -> Migration:
    if plugin.migration is None:
        raise ConfigurationError(
            f"{redact(url)} needs no migration: the {plugin.title} backend makes what it needs when it is opened"
        )
    return plugin.migration


async def _applied(work: Awaitable[bool]) -> bool:
    return await work
