"""The conformance suite: what a backend is, as tests that any backend can be put through.

Three doors lead to it:

- `python -m docket_core.conformance URL`;
- in a backend's own repository, `pytest_plugins = ["docket_core.conformance.plugin"]` in the conftest, and a
  test module with a `backend_url` fixture and `from docket_core.conformance.suite import *`;
- docket-core's own `tests/conformance/`, which is the second door over every URL.

It needs the extra `docket-core[conformance]`.
"""
