"""The process that hosts a peer: `python -m benchmarks.peers.start MODULE`, in the peer's own environment.

docket-core is not installed there: of its package only those parts are imported that use the standard library alone.
"""

import asyncio
import importlib
import logging
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Serve the peer whose module is named."""
    package = ModuleType("docket_core")
    package.__path__ = [str(ROOT / "docket_core")]
    sys.modules["docket_core"] = package
    logging.basicConfig(level=logging.WARNING)
    subject = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}").SUBJECT()
    asyncio.run(importlib.import_module("docket_core.bench.agent").serve(subject))


if __name__ == "__main__":
    main()
