"""How a worker's log looks: for people on a terminal, plain lines, or JSON lines."""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum

from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

from docket_core.cli.output import console


class Level(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Format(StrEnum):
    """How it is written."""

    RICH = "rich"
    PLAIN = "plain"
    JSON = "json"


class JsonFormatter(logging.Formatter):
    """One JSON object for each line; what was passed as `extra` is in it."""

    _USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        line |= {name: value for name, value in vars(record).items() if name not in self._USUAL}
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up_logging(level: Level, form: Format | None) -> None:
    """Send the whole process's log to the standard error; without a format, rich on a terminal and plain elsewhere."""
    chosen = form or (Format.RICH if sys.stderr.isatty() else Format.PLAIN)
    if chosen is Format.RICH:
        handler: logging.Handler = RichHandler(
            console=console(stderr=True),
            show_path=False,
            omit_repeated_times=False,
            log_time_format="%H:%M:%S",
            highlighter=NullHighlighter(),
        )
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        plain = logging.Formatter("%(asctime)s %(levelname)-8s %(name)s: %(message)s")
        handler.setFormatter(JsonFormatter() if chosen is Format.JSON else plain)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
