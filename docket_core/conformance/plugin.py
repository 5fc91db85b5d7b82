"""The pytest plugin of the conformance suite: its fixtures, and what becomes of a requirement that is left out.

An author overrides what differs: `backend_url` nearly always, `open_backend` where opening is special,
`advance` where no clock can be given, `disrupt` to have the requirements about broken connections, `connect` where
SQLAlchemy cannot open a caller's connection by the URL, `open_limited` where the plugin cannot name the URL of a store
that is soon full.
"""

from collections.abc import AsyncIterator, Generator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from docket_core.backend.capabilities import MEBIBYTE
from docket_core.backend.clock import Clock, ManualClock, Micros
from docket_core.backend.protocol import Backend
from docket_core.backend.registry import load_plugin
from docket_core.backend.registry import open_backend as open_by_url
from docket_core.backend.url import parse_url

pytest.register_assert_rewrite(
    *(
        f"docket_core.conformance.{entry.name.removesuffix('.py')}"
        for entry in files("docket_core.conformance").iterdir()
        if entry.name.endswith(".py") and not entry.name.startswith("__") and entry.name != "plugin.py"
    )
)

from docket_core.conformance.caller import Connect, connect_by_url  # noqa: E402
from docket_core.conformance.subject import RETENTION, Advance, Disrupt, OpenBackend, Subject  # noqa: E402

REQUIRES = "docket_requires"
LEFT_OUT = "left out"
OF_THE_AUTHOR = {
    "disrupt": "a way to break the connection",
    "connect": "a caller's own connection",
    "open_limited": "a store that is full by a limit of its own",
}
"""Not capabilities of the backend but fixtures of its author's; where they give None some requirements are left out."""


class LeftOut(Exception):
    """The backend under test does not have the capability that this requirement speaks of."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend-url", default=None, help="the store that the docket conformance suite runs against")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{REQUIRES}(capability): a requirement only for backends that have it")


@pytest.fixture
def backend_url(request: pytest.FixtureRequest) -> str:
    """The URL of the store to test. Override it, or give --backend-url."""
    url = cast("str | None", request.config.getoption("backend_url", default=None))
    if url is None:
        raise pytest.UsageError("no store to test: define a fixture `backend_url`, or give --backend-url")
    return url


@pytest.fixture
def open_backend(backend_url: str) -> OpenBackend:
    """Makes an instance for a docket's name and a clock. Override it where a URL is not enough."""
    return opener(backend_url)


def opener(url: str) -> OpenBackend:
    """Makes instances on the store of this URL."""

    def opened(
        name: str, clock: Clock | None, *, retention: Micros = RETENTION, max_payload: int = MEBIBYTE
    ) -> Backend:
        return open_by_url(url, name, retention=retention, max_payload=max_payload, clock=clock)

    return opened


@pytest.fixture
def open_limited(backend_url: str, tmp_path: Path) -> OpenBackend | None:
    """As `open_backend`, on a store of its own that is soon full by a limit of its own. Override it to have one."""
    limited = load_plugin(parse_url(backend_url).scheme).limited
    return None if limited is None else opener(limited(tmp_path))


@pytest.fixture
def conformance_clock() -> Clock:
    """The clock that every instance of a test shares."""
    return ManualClock()


@pytest.fixture
def advance(conformance_clock: Clock) -> Advance:
    """Moves the store's time on. Override it together with `conformance_clock` where no clock can be given."""

    async def advanced(delta: Micros) -> None:
        assert isinstance(conformance_clock, ManualClock)
        conformance_clock.advance(delta)

    return advanced


@pytest.fixture
def disrupt() -> Disrupt | None:
    """Breaks the way to the store, once. Override it to have the requirements that speak of it."""
    return None


@pytest.fixture
def connect(backend_url: str) -> Connect | None:
    """Opens a caller's own connection to the store, for the requirements about transactions."""
    return connect_by_url(backend_url)


@pytest_asyncio.fixture(loop_scope="function")
async def subject(
    request: pytest.FixtureRequest,
    open_backend: OpenBackend,
    conformance_clock: Clock,
    advance: Advance,
    disrupt: Disrupt | None,
    connect: Connect | None,
    open_limited: OpenBackend | None,
) -> AsyncIterator[Subject]:
    """The backend under test, open, on a docket of its own."""
    async with Subject(open_backend, conformance_clock, advance, disrupt, connect, open_limited) as opened:
        given = {"disrupt": disrupt, "connect": connect, "open_limited": open_limited}
        leave_out_unless_capable(request, opened.backend, given)
        yield opened


def leave_out_unless_capable(request: pytest.FixtureRequest, backend: Backend, given: Mapping[str, object]) -> None:
    """End this test here if it needs what the backend does not have."""
    node = cast("pytest.Item", request.node)
    needed = [cast("str", marker.args[0]) for marker in node.iter_markers(REQUIRES)]
    for name in sorted(needed, key=lambda name: name in given):  # what the backend lacks is the better reason
        if not (given[name] is not None if name in given else getattr(backend.capabilities, name)):
            raise LeftOut(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, LeftOut):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, str(call.excinfo.value))
        report.user_properties.append((LEFT_OUT, str(call.excinfo.value)))
    return report


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    if isinstance(report, pytest.TestReport) and any(name == LEFT_OUT for name, _ in report.user_properties):
        return LEFT_OUT, "-", LEFT_OUT.upper()
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = cast("list[pytest.TestReport]", terminalreporter.getreports(LEFT_OUT))
    if not reports:
        return
    terminalreporter.section("left out of the conformance suite")
    by_capability: dict[str, list[str]] = {}
    for report in reports:
        missing = dict(report.user_properties)[LEFT_OUT]
        by_capability.setdefault(str(missing), []).append(report.nodeid)
    for missing, tests in sorted(by_capability.items()):
        what = "no fixture" if missing in OF_THE_AUTHOR else "the backend lacks the capability"
        want = f", for want of {OF_THE_AUTHOR[missing]}" if missing in OF_THE_AUTHOR else ""
        terminalreporter.line(f"{what} {missing!r}: {len(tests)} left out{want}")
        for nodeid in tests:
            terminalreporter.line(f"  {nodeid}")
