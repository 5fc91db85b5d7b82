"""The tests of docket-core; `python -m tests` runs all that is checked."""
