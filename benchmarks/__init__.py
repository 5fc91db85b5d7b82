"""Benchmarks over the public API; see `python -m benchmarks.smoke --help`."""
