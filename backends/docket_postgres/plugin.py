"""Makes the Postgres backend known: `postgresql://user@host/database`."""

from docket_core.backend.hookspecs import BackendPlugin, Migration, Opening, Option, hookimpl
from docket_core.backend.kit import one_of, switch, whole_number
from docket_core.backend.protocol import Backend


def _open(opening: Opening) -> Backend:
    from docket_postgres.backend import PostgresBackend

    return PostgresBackend(opening)


def _sql(url: str) -> str:
    from docket_postgres.migrations import migration_sql
    from docket_postgres.settings import target_of

    return migration_sql(target_of(url)[1])


def _grants(url: str, role: str) -> str:
    from docket_postgres.migrations import grants_sql
    from docket_postgres.settings import target_of

    return grants_sql(role, target_of(url)[1])


async def _migrate(url: str) -> bool:
    from docket_postgres.migrations import migrate

    return await migrate(url)


@hookimpl
def docket_core_backend() -> BackendPlugin:
    return BackendPlugin(
        title="Postgres",
        schemes=("postgresql", "postgres", "postgresql+asyncpg"),
        open=_open,
        summary="many machines, tasks in your own database and in your own transactions",
        options={
            "schema": Option(str, "docket", "the schema of docket's tables"),
            "migrate": Option(switch, True, "create or upgrade the schema when it is opened, if it is needed"),
            "notify": Option(switch, True, "listen on a connection of its own; without it, work is found by polling"),
            "notify_url": Option(str, None, "where to listen, if the URL leads through a pooler that cannot"),
            "prepared": Option(switch, True, "use prepared statements; found out by itself behind a pooler"),
            "pool": Option(whole_number(1, 100), 4, "the most connections for work, opened as they are needed"),
            "timeout": Option(whole_number(1, 3600), 5, "seconds after which an unanswered statement is given up"),
            "host": Option(str, None, "the server's host, or the folder of its socket"),
            "sslmode": Option(
                one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full"), None, "as libpq has it"
            ),
            "sslrootcert": Option(str, None, "the file with the authority's certificate"),
            "sslcert": Option(str, None, "the file with the client's certificate"),
            "sslkey": Option(str, None, "the file with the client's key"),
        },
        driver="asyncpg",
        extra="docket-core[postgres]",
        migration=Migration(_sql, _grants, _migrate),
        protocol=1,
    )
