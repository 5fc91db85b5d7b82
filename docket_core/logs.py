"""Loggers that never raise: a formatter, filter or handler of the user's costs a line, and nothing else."""

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter


class SafeLogger(_Adapter):
    """Logs as the logger it stands for does; whatever handlers, filters and arguments raise is dropped."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        with suppress(Exception):  # logging is the user's to configure; tasks go on without it
            if self.isEnabledFor(level):
                stacklevel = kwargs.pop("stacklevel", 1)
                self.logger.log(level, msg, *args, stacklevel=stacklevel + 1, **kwargs)


def get_logger(name: str) -> SafeLogger:
    """The logger of this name, so that using it cannot fail."""
    return SafeLogger(logging.getLogger(name))
