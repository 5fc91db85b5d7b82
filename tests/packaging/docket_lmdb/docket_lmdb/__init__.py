"""A backend for docket-core on LMDB, written as somebody outside would write it."""
