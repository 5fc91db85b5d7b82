"""The full comparison: docket-core on all its stores, its peers, and the stores' own limits; `python -m benchmarks`."""
