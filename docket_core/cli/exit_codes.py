"""What a command's exit code says; `docket --help` shows the same list."""

from enum import IntEnum

from docket_core.errors import (
    BackendError,
    CapabilityMissing,
    CodecError,
    ConfigurationError,
    DocketError,
    InvalidInput,
)


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    OK = 0
    NO = 1
    """The command did its work, and the answer is no: nothing has that key, the task failed, the demo is not right."""
    USAGE = 2
    """What was asked for cannot work: an option, a value, a URL, a key."""
    UNAVAILABLE = 3
    """The store cannot be reached, is full, or holds what this version cannot work with."""
    NOT_SHARED = 4
    """The store lacks what the command needs, such as being shared between processes."""
    DATA = 5
    """Bytes in the store, or an argument, cannot be encoded or decoded."""
    INTERRUPTED = 130
    """Stopped by a signal before it was done."""


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.NO: "done, and the answer is no (no such key, the task failed, …)",
    ExitCode.USAGE: "an option, value, URL or key that cannot work",
    ExitCode.UNAVAILABLE: "the store cannot be reached, or refuses",
    ExitCode.NOT_SHARED: "the store lacks what the command needs, as memory:// does",
    ExitCode.DATA: "something cannot be encoded or decoded",
    ExitCode.INTERRUPTED: "stopped by a signal before it was done",
}

_BY_ERROR: tuple[tuple[type[DocketError], ExitCode], ...] = (
    (ConfigurationError, ExitCode.USAGE),
    (InvalidInput, ExitCode.USAGE),
    (CapabilityMissing, ExitCode.NOT_SHARED),
    (BackendError, ExitCode.UNAVAILABLE),
    (CodecError, ExitCode.DATA),
)


def exit_code_of(error: DocketError) -> ExitCode:
    """The exit code for an error that a command ends with."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.NO)
