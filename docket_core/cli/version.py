"""`docket version`"""

import platform
from importlib.metadata import version as version_of

from docket_core.cli.output import print_json, say
from docket_core.cli.session import AsJson


def version(as_json: AsJson = False) -> None:
    """Show the version."""
    installed = version_of("docket-core")
    if as_json:
        print_json({"docket-core": installed, "python": platform.python_version()})
    else:
        say(installed)
