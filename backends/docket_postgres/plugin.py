"""Makes the Postgres backend known: `postgresql://user@host/database`."""

from docket_core.backend.hookspecs import BackendPlugin, Opening, Option, hookimpl
from docket_core.backend.kit import one_of, switch, whole_number
from docket_core.backend.protocol import Backend


def _open(opening: Opening) -> Backend:
    from docket_postgres.backend import PostgresBackend

    return PostgresBackend(opening)


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
        protocol=1,
    )
