"""The memory backend: the reference implementation of the protocol, for tests and single processes."""
