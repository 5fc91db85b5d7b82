"""Other frameworks, each through its public API, in an environment of its own, under the same scenarios.

A peer is a `Subject` in a file of its own, which runs in a process of that environment; `start` is that process. To add
one: write the file, and a line in `known`.
"""
