"""The command line: `docket`, also `docket-core` and `python -m docket_core`."""

from docket_core.cli.app import main

__all__ = ["main"]
