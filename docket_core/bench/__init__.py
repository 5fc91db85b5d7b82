"""The benchmark: the same scenarios over every store, side by side, and over anything else that speaks its protocol.

`scenarios` is what is measured, `contestants` who takes part, `agent` the processes it happens in, `subject` is
docket-core as a contestant; `rounds` interleaves them, `results`, `tables`, `chart` and `compare` are what comes out.
`docket bench` is the way in. Importing the package imports nothing else of it.
"""
