"""What coverage sees, and when it need not look."""

import importlib
import pkgutil
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

PACKAGES = ["docket_core", "docket_fastapi", "docket_memory", "docket_postgres", "docket_redis", "docket_sqlite"]


@contextmanager
def nobody_looks() -> Generator[None]:
    """No line that runs meanwhile is recorded, neither here nor in a thread that begins meanwhile."""
    here, elsewhere = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type, unused-ignore]
    try:
        yield
    finally:
        threading.settrace(elsewhere)  # type: ignore[arg-type, unused-ignore]
        sys.settrace(here)


def import_everything() -> None:
    """Import all our modules, so that the lines which run at import are recorded."""
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
