"""What the server is: its version, what its writes survive, whether it may throw tasks away."""

import logging

from docket_core.backend.capabilities import Durability
from docket_core.errors import BackendError, ConfigurationError, SchemaMismatch
from docket_redis.client import Client

logger = logging.getLogger(__name__)

LAYOUT = b"1"
"""The version of the keys' layout, as the scripts write it beside the newest token."""
_OLDEST = (6, 2)
_warned: set[str] = set()
"""Servers of which this process has been told that they may lose something: a docket opens its store more than once."""


async def check_server(client: Client, shown_url: str) -> Durability:
    """What an acknowledged write survives; warns where that is less than a user may think.

    Raises:
        ConfigurationError: the server is older than Redis 6.2.
        SchemaMismatch: the docket was written with another layout.
        BackendUnavailable: the server cannot be reached.
    """
    layout = await client.call("HGET", f"{client.prefix}m", "v")
    if layout is not None and layout != LAYOUT:
        raise SchemaMismatch(
            f"the docket at {shown_url} has the layout {layout.decode(errors='replace')}, this version works with "
            f"{LAYOUT.decode()}; use one version of docket-core for all, or another docket name"
        )
    try:
        facts = _facts(await client.call("INFO"))
    except BackendError as error:
        logger.warning(
            "%s does not tell how it is set up; tasks are as durable as it happens to be: %s", shown_url, error
        )
        return Durability.PROCESS
    version = tuple(int(part) for part in facts.get("redis_version", "0").split(".")[:2])
    if version < _OLDEST:
        raise ConfigurationError(f"{shown_url} is Redis {facts.get('redis_version')}; docket-core needs 6.2 or newer")
    _check_eviction(facts, shown_url)
    durability = await _durability(client, facts)
    if durability is Durability.PROCESS and shown_url not in _warned:
        _warned.add(shown_url)
        logger.warning(
            "%s does not write each change to disk: a crash of the server may lose acknowledged tasks "
            "(appendonly yes with appendfsync always loses none)",
            shown_url,
        )
    return durability


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


def _check_eviction(facts: dict[str, str], shown_url: str) -> None:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        logger.error(
            "%s has maxmemory-policy %s: when its memory is full it DELETES TASKS without a trace; "
            "set maxmemory-policy noeviction",
            shown_url,
            policy,
        )


async def _durability(client: Client, facts: dict[str, str]) -> Durability:
    if facts.get("aof_enabled") == "1":
        try:
            answer = await client.call("CONFIG", "GET", "appendfsync")
        except BackendError:  # an account may not be allowed to ask
            answer = []
        if isinstance(answer, list) and answer[1:2] == [b"always"]:
            return Durability.FSYNC
    if int(facts.get("connected_slaves", "0")) > 0:
        return Durability.REPLICATED
    return Durability.PROCESS
