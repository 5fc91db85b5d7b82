"""The schema: created and upgraded by whoever may, checked by all."""

import re
from importlib.resources import files

import asyncpg

from docket_core.backend.kit import translated
from docket_core.errors import SchemaMismatch
from docket_postgres.errors import sqlstate_of, translate
from docket_postgres.settings import SCHEMA, checked_schema, target_of

VERSION = 1
"""The version of the schema that this code was written for."""
COMPATIBLE = 1
"""The oldest code that works with a schema of `VERSION`."""

_FILES = ("tables", "shared", "enqueue", "claim", "ack", "gates", "leases", "read", "prune")
_ENTRIES = (
    *("add_new_1", "enqueue_1", "claim_1", "finish_1", "ack_1", "acquire_1", "release_1"),
    *("renew_1", "progress_1", "cancel_1", "clear_1", "prune_1"),
    *("get_1", "scan_1"),
)
# A plan made while a table was empty reads it whole, and stays cached; so plans by index are pinned, independently of
# statistics. Before 18 the pins add to the estimated cost, which would start the JIT compiler: it is off.
_PINS = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
    "enable_sort": "off",
}
_WAITS = {"lock_timeout": "3000"}
_SETTINGS = {  # each one costs half a microsecond at each call; to add one task there is little to plan
    "add_one_1": {name: _PINS[name] for name in ("jit", "enable_seqscan")} | _WAITS,
    **dict.fromkeys(_ENTRIES, _PINS | _WAITS),
}


def qualified(sql: str, schema: str) -> str:
    """`sql` with the schema `docket` replaced by `schema`."""
    return re.sub(r"\bdocket\.(?=[a-z])", f'"{schema}".', sql)


def migration_sql(schema: str = SCHEMA) -> str:
    """All that creates or upgrades the schema, for a role that may do so; to run it again changes nothing."""
    return f"begin;\n{_body(checked_schema(schema))}commit;\n"


def grants_sql(role: str, schema: str = SCHEMA) -> str:
    """What a role needs that uses the schema, but may not change it."""
    name, grantee = f'"{checked_schema(schema)}"', '"' + role.replace('"', '""') + '"'
    return (
        f"grant usage on schema {name} to {grantee};\n"
        f"grant select, insert, update, delete on all tables in schema {name} to {grantee};\n"
        f"grant usage, select, update on all sequences in schema {name} to {grantee};\n"
        f"grant execute on all functions in schema {name} to {grantee};\n"
    )


async def migrate(url: str, schema: str | None = None) -> bool:
    """Create or upgrade the schema that a backend's URL names; whether there was anything to do.

    Safe to run by many at once. `schema` goes before the URL's option.

    Raises:
        SchemaMismatch: the schema is newer than this code, or the role may not change it.
        BackendUnavailable: the server cannot be reached.
    """
    dsn, named = target_of(url)
    with translated(translate):
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            return await upgrade(connection, checked_schema(schema or named))
        finally:
            await connection.close()


async def upgrade(connection: "asyncpg.Connection[asyncpg.Record]", schema: str, *, incomplete: bool = False) -> bool:
    """As `migrate`, on a connection; a schema of this version that is known to be `incomplete` is made whole."""
    async with connection.transaction():
        await connection.execute(_lock(schema))
        current = await is_current(connection, schema)
        if current and not (incomplete and await _is_of_this_version(connection, schema)):
            return False
        await connection.execute(_body(schema))
    return True


async def is_current(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> bool:
    """Whether the schema is there and this code can work with it as it is.

    Raises:
        SchemaMismatch: it is newer, and cannot be used by this code.
    """
    if await connection.fetchval("select to_regclass($1)", f'"{schema}".version') is None:
        return False
    try:
        row = await connection.fetchrow(qualified("select version, compatible from docket.version", schema))
    except asyncpg.PostgresError as error:
        if sqlstate_of(error) != "42P01":
            raise
        return False
    if row is None:
        return False
    if row["compatible"] > VERSION:
        raise SchemaMismatch(
            f"the schema {schema!r} has version {row['version']}, this code works with versions up to {VERSION}; "
            f"install a newer docket-core"
        )
    return bool(row["version"] >= VERSION)


async def _is_of_this_version(connection: "asyncpg.Connection[asyncpg.Record]", schema: str) -> bool:
    return bool(await connection.fetchval(qualified("select version from docket.version", schema)) == VERSION)


def _lock(schema: str) -> str:
    return f"select pg_advisory_xact_lock(1685021555, hashtext('{schema}'));\n"


def _body(schema: str) -> str:
    statements = "".join(files("docket_postgres").joinpath("sql", f"{name}.sql").read_text() for name in _FILES)
    return "".join((_lock(schema), _create(schema), qualified(statements, schema), _pins(schema), _mark(schema)))


def _create(schema: str) -> str:
    return f"""
do $$ begin
  if to_regnamespace('"{schema}"') is null then create schema "{schema}"; end if;
end $$;
"""


def _pins(schema: str) -> str:
    pins = "".join(
        f"""
  for f in select p.oid::regprocedure from pg_proc p where p.pronamespace = '"{schema}"'::regnamespace
    and p.proname = '{function}' loop
    {" ".join(f"execute format('alter function %s set {name} = {value}', f);" for name, value in settings.items())}
  end loop;"""
        for function, settings in _SETTINGS.items()
    )
    return f"""
do $$ declare f regprocedure; begin{pins}
end $$;
"""


def _mark(schema: str) -> str:
    return f"""
insert into "{schema}".version as v (version, compatible) values ({VERSION}, {COMPATIBLE})
  on conflict (one) do update set version = excluded.version, compatible = excluded.compatible
  where v.version < excluded.version;
"""
