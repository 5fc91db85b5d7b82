"""What the README shows is what works."""

import re
from pathlib import Path
from typing import Any

import pytest

from docket_core.backend.registry import installed_schemes, load_plugin

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", README, re.DOTALL)


def test_the_first_command_runs_the_demo() -> None:
    assert blocks("sh")[0] == "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/docket demo\n"


def test_the_second_command_is_what_ci_runs() -> None:
    assert (ROOT / ".ci" / "run").read_text().endswith(f'cd "$(dirname "$0")/.."\n{blocks("sh")[1]}')


@pytest.mark.parametrize("scheme", installed_schemes())
def test_every_installed_backend_stands_in_the_table(scheme: str) -> None:
    plugin = load_plugin(scheme)
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    assert any(f"`{one}://" in row for row in rows for one in plugin.schemes)


def test_every_shown_command_exists() -> None:
    from typer.main import get_command

    from docket_core.cli.app import build

    top: Any = get_command(build())
    commands: dict[str, object] = top.commands
    shown = {line.split()[1] for block in blocks("sh")[2:] for line in block.splitlines()}
    assert shown
    assert shown <= set(commands)
