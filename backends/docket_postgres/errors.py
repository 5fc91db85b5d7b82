"""From the driver's errors to those of the contract."""

import asyncpg

from docket_core.errors import BackendUnavailable, DocketError, Overloaded, SchemaMismatch

AGAIN = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same statement again is likely to succeed."""
UNPREPARED = frozenset({"26000", "42P05"})
"""A prepared statement is not where it was made: a pooler between us and the server hands out other sessions."""
MISSING = frozenset({"42P01", "42883", "3F000", "42703", "42704"})
"""A table, function, schema or column is not there."""
_NO_RIGHTS = "42501"
_FULL = ("53100", "53200", "53400", "54000", "53000")
_CONNECTIONS = "53300"


def sqlstate_of(error: BaseException | None) -> str:
    """The five letters by which Postgres tells its errors apart; empty if it is none of its own."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        state: object = getattr(error, "sqlstate", None)
        if isinstance(state, str):
            return state
        seen.add(id(error))
        error = getattr(error, "orig", None) or error.__cause__
    return ""


def translate(error: BaseException) -> DocketError | None:
    """What the contract calls this error; None if it is neither the driver's nor the network's."""
    state = sqlstate_of(error)
    text = str(error).strip() or type(error).__name__
    if state:
        return _translate_state(state, text)
    if isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError | EOFError):
        return BackendUnavailable(f"Postgres cannot be reached: {text}")
    return None


def _translate_state(state: str, text: str) -> DocketError:
    if state in _FULL:
        return Overloaded(f"Postgres refuses writes ({state}): {text}")
    if state in MISSING:
        return SchemaMismatch(
            f"docket's tables or functions are not there, or older ({state}): {text}; run `docket migrate`"
        )
    if state == _NO_RIGHTS:
        return SchemaMismatch(
            f"this role lacks rights on docket's schema ({state}): {text}; let a role with rights run "
            f"`docket migrate`, and grant this one what the printed SQL names"
        )
    if state == "55P03":
        return BackendUnavailable(f"another transaction holds one of these keys, and the lock timeout is over: {text}")
    return BackendUnavailable(f"Postgres cannot do it now ({state}): {text}")


def is_in_use(error: DocketError) -> bool:
    """Whether this is a translation of the word that a row with this key is there already."""
    return sqlstate_of(error.__cause__) == "23505"


def is_connection_lost(error: BaseException) -> bool:
    """Whether the connection that raised this must not be used again."""
    state = sqlstate_of(error)
    return not state or state.startswith(("08", "57P", "26", "42P05"))
