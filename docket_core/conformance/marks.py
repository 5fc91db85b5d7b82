"""The marks that requirements carry."""

from typing import ClassVar

import pytest

needs_push = pytest.mark.docket_requires("push")
needs_transactional = pytest.mark.docket_requires("transactional")
needs_disrupt = pytest.mark.docket_requires("disrupt")
needs_connect = pytest.mark.docket_requires("connect")
needs_limit = pytest.mark.docket_requires("open_limited")


class Requirements:
    """The base of every class of asynchronous requirements; each takes the `subject` fixture."""

    pytestmark: ClassVar = [pytest.mark.asyncio]
