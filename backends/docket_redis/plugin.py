"""Makes the Redis backend known: one server, one that Sentinel names, or a cluster's."""

from docket_core.backend.hookspecs import BackendPlugin, Opening, Option, hookimpl
from docket_core.backend.kit import one_of, whole_number
from docket_core.backend.protocol import Backend


def _open(opening: Opening) -> Backend:
    from docket_redis.backend import RedisBackend

    return RedisBackend(opening)


@hookimpl
def docket_core_backend() -> BackendPlugin:
    return BackendPlugin(
        title="Redis",
        schemes=(
            "redis",
            "rediss",
            "unix",
            "valkey",
            "redis+sentinel",
            "rediss+sentinel",
            "redis+cluster",
            "rediss+cluster",
        ),
        open=_open,
        summary="a Redis or Valkey server from 6.2 on; as durable as the server is set up to be",
        options={
            "db": Option(whole_number(0), None, "the number of the database, unless the URL's path names it"),
            "timeout": Option(whole_number(1), 5, "seconds without an answer after which the server counts as away"),
            "sentinel_username": Option(str, None, "the sentinels' account, where they have one"),
            "sentinel_password": Option(str, None, "the sentinels' password, where they have one"),
            "ssl_ca_certs": Option(str, None, "a file of certificates to trust instead of the system's"),
            "ssl_cert_reqs": Option(
                one_of("required", "none"), "required", "whether the server's certificate is checked"
            ),
        },
        driver="hiredis",
        extra="docket-core[redis]",
        protocol=1,
    )
