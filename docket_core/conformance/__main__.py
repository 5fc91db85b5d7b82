"""`python -m docket_core.conformance URL`: put a backend through the suite."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from docket_core.backend.registry import load_plugin
from docket_core.backend.url import parse_url
from docket_core.errors import ConfigurationError

NEEDED = ("pytest", "pytest_asyncio", "hypothesis")


def main(arguments: list[str] | None = None) -> int:
    """Run the suite; the exit code is pytest's, or 2 where it could not begin."""
    parser = argparse.ArgumentParser(
        prog="python -m docket_core.conformance",
        description="Put a backend through docket-core's conformance suite.",
        epilog="Further arguments are pytest's, such as -x, -v or -k claim. "
        "DOCKET_CONFORMANCE_EXAMPLES=1000 makes the search through histories longer.",
    )
    parser.add_argument("url", help="the store, such as memory://conformance or sqlite:///conformance.db")
    known, further = parser.parse_known_args(arguments)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"the conformance suite needs {', '.join(missing)}; run: pip install 'docket-core[conformance]'\n"
        )
        return 2
    try:
        url = parse_url(known.url)
        title = load_plugin(url.scheme).title
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    import pytest  # noqa: PLC0415  (an extra, looked for above)

    here = Path(__file__).parent
    sys.stdout.write(f"docket-core conformance suite: the {title} backend at {url.redacted}\n")
    sys.stdout.flush()
    return int(
        pytest.main(
            [
                *("-c", os.devnull, "--rootdir", str(here), "-p", "no:cacheprovider"),
                *("-p", "docket_core.conformance.plugin", "-W", "error"),
                *("-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function"),
                *("--backend-url", known.url, str(here / "suite.py"), *further),
            ]
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
