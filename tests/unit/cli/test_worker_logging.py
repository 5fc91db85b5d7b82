"""A worker's log as JSON lines."""

import json
import logging
import sys

from docket_core.cli.worker_logging import JsonFormatter


def test_a_record_is_one_json_object_in_one_line() -> None:
    record = logging.makeLogRecord(
        {"name": "docket_core.worker", "levelno": logging.INFO, "levelname": "INFO", "msg": "done\n%s", "args": ("é",)}
    )
    record.key = "order-17"
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == "done\né"
    assert told["level"] == "info"
    assert told["logger"] == "docket_core.worker"
    assert told["key"] == "order-17"
    assert told["time"].endswith("+00:00")


def test_an_exception_is_told() -> None:
    try:
        raise ValueError("no such order")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    assert "ValueError: no such order" in json.loads(JsonFormatter().format(record))["exception"]
