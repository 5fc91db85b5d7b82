"""Every error that docket-core raises on purpose; no driver's error ever leaks past these.

DocketError
├── ConfigurationError (ValueError)   what was asked for cannot work; the text says what to do
│   ├── UnknownScheme                 no installed backend serves the URL's scheme
│   ├── MissingExtra                  the backend's driver is not installed
│   ├── BadOption                     an option in a URL is unknown or has a bad value
│   └── ProtocolMismatch              a plugin was written for another protocol version
├── BackendError                      the store's answer was no
│   ├── BackendUnavailable            cannot be reached, or not now: trying again makes sense
│   ├── Overloaded                    the store is full or refuses writes
│   ├── SchemaMismatch                the store holds something that this version cannot work with
│   └── CapabilityMissing             this backend declares that it cannot do that
├── InvalidInput (ValueError)         refused before anything was written
│   ├── InvalidKey                    a key, name or label outside its bounds
│   └── PayloadTooLarge               more bytes than the backend takes
├── CodecError                        bytes that cannot be made, read or trusted
│   ├── Unserializable                a value cannot be turned into bytes
│   ├── Undecodable                   the bytes cannot be turned into a value
│   └── PayloadRefused                the codec does not allow these bytes
└── ExecutionError                    how a task that somebody waits for ended
    ├── ExecutionFailed               failed, and its own exception cannot be raised here
    ├── ExecutionCancelled            cancelled before or while it ran
    ├── ExecutionSuperseded           replaced: another run has taken its key
    └── ResultExpired                 ended, and nothing of it is kept any more
"""


class DocketError(Exception):
    """The root of all errors of docket-core."""


class ConfigurationError(DocketError, ValueError):
    """What was asked for cannot work; the message says what to do about it."""


class UnknownScheme(ConfigurationError):
    """No installed backend serves the URL's scheme."""


class MissingExtra(ConfigurationError):
    """The backend is known, but the driver it needs is not installed."""


class BadOption(ConfigurationError):
    """An option in a backend's URL is unknown or has a value that cannot be used."""


class ProtocolMismatch(ConfigurationError):
    """A backend plugin was written for another version of the protocol."""


class BackendError(DocketError):
    """The store could not or would not do what was asked."""


class BackendUnavailable(BackendError):
    """The store cannot be reached, or not now. Trying again makes sense."""


class Overloaded(BackendError):
    """The store is full, or refuses writes. Nothing of the refused item was written."""


class SchemaMismatch(BackendError):
    """The store holds something that this version of the backend cannot work with."""


class CapabilityMissing(BackendError):
    """The backend declares that it does not have the capability this needs."""


class InvalidInput(DocketError, ValueError):
    """Input outside its documented bounds; nothing was written."""


class InvalidKey(InvalidInput):
    """A key, name or label outside its documented bounds."""


class PayloadTooLarge(InvalidInput):
    """A payload, result or text of more bytes than the backend takes."""


class CodecError(DocketError):
    """Bytes that cannot be made, read or trusted."""


class Unserializable(CodecError):
    """A value cannot be turned into bytes by the codec in use."""


class Undecodable(CodecError):
    """Bytes cannot be turned back into a value."""


class PayloadRefused(CodecError):
    """The codec does not allow these bytes: a wrong format, or a signature that does not hold."""


class ExecutionError(DocketError):
    """How a task that somebody waits for ended, where that is not a result."""


class ExecutionFailed(ExecutionError):
    """The task failed, and its own exception cannot be raised here; the text shows what it was."""


class ExecutionCancelled(ExecutionError):
    """The task was cancelled."""


class ExecutionSuperseded(ExecutionError):
    """The run that was waited for has been replaced by another run of the same key."""


class ResultExpired(ExecutionError):
    """The run has ended, and its outcome is not kept any more."""
