"""Every parameter of a worker can be given as an option and as a variable."""

import inspect
from typing import Any

import pytest
from typer.main import get_command

from docket_core import Worker
from docket_core.cli.app import build
from docket_core.worker.entry import WorkerOptions

COMMAND: Any = get_command(build())
OPTIONS: dict[str, Any] = {option.name: option for option in COMMAND.commands["worker"].params}
RENAMED = {"docket_name": "docket"}


def parameters() -> list[str]:
    of_init = list(inspect.signature(Worker.__init__).parameters)[2:]
    of_run = [name for name in inspect.signature(Worker.run).parameters if name != "options"]
    return sorted({*of_init, *of_run})


@pytest.mark.parametrize("name", parameters())
def test_a_parameter_is_an_option_with_a_variable(name: str) -> None:
    option = OPTIONS[RENAMED.get(name, name)]
    own = f"DOCKET_WORKER_{name.upper()}"
    special = {"docket_name": "DOCKET_NAME", "url": "DOCKET_URL", "codec": [own, "DOCKET_CODEC"]}
    assert option.envvar == special.get(name, [own])
    assert f"--{option.name.replace('_', '-')}" in option.opts
    assert option.help


def test_what_run_passes_on_is_what_a_worker_takes() -> None:
    taken = list(inspect.signature(Worker.__init__).parameters)[3:]
    assert list(WorkerOptions.__annotations__) == taken


def test_defaults_are_those_of_the_worker() -> None:
    declared = inspect.signature(Worker.__init__).parameters
    shown: Any = inspect.signature(COMMAND.commands["worker"].callback.__wrapped__).parameters
    for name in list(declared)[3:]:
        default = shown[name].default
        assert (int(default) if name == "max_deliveries" else default) == declared[name].default, name
