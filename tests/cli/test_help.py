"""Help that helps, and completion for shells."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from docket_core.cli.app import build
from tests.support.command import Command, environment, run

APP = build()
COMMANDS = [(command.name or "",) for command in APP.registered_commands] + [
    (group.name or "", command.name or "")
    for group in APP.registered_groups
    if group.typer_instance is not None
    for command in group.typer_instance.registered_commands
]


def test_there_are_commands_to_look_at() -> None:
    assert {("snapshot",), ("workers", "for-task"), ("tasks", "sleep")} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_the_command_understands(words: tuple[str, ...], docket: Command) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        shown = docket(*words, "--help").out
    (example,) = (line.strip() for line in shown.splitlines() if line.strip().startswith("Example: "))
    program, *given = shlex.split(example.removeprefix("Example: "))
    assert (program, *given[: len(words)]) == ("docket", *words)
    options = {word for word in given if word.startswith("--")}
    assert not {option for option in options if f"{option} " not in shown}


@pytest.mark.parametrize(
    ("shell", "line"), [("bash", "complete -o default -F"), ("zsh", "#compdef docket"), ("fish", "complete --command")]
)
def test_a_completion_script_is_shown_for_the_shell_that_is_named(shell: str, line: str, tmp_path: Path) -> None:
    shown = run("--show-completion", shell, cwd=tmp_path)
    assert (shown.code, shown.err) == (0, "")
    assert line in shown.out
    assert "_DOCKET_COMPLETE" in shown.out


def test_completion_is_installed_for_the_shell_that_is_named(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path)}
    assert run("--install-completion", "zsh", cwd=tmp_path, env=home).code == 0
    assert "#compdef docket" in (tmp_path / ".zfunc" / "_docket").read_text()


def test_a_shell_that_is_not_known_is_a_usage_error(tmp_path: Path) -> None:
    assert run("--show-completion", "nosuch", cwd=tmp_path).code == 2


@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({"_DOCKET_COMPLETE": "complete_bash", "COMP_WORDS": "docket sna", "COMP_CWORD": "1"}, "snapshot"),
        ({"_DOCKET_COMPLETE": "complete_bash", "COMP_WORDS": "docket workers fo", "COMP_CWORD": "2"}, "for-task"),
        ({"_DOCKET_COMPLETE": "complete_bash", "COMP_WORDS": "docket snapshot --st", "COMP_CWORD": "2"}, "--stats"),
        ({"_DOCKET_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "docket sna"}, '"snapshot"'),
    ],
    ids=["bash", "bash, in a group", "bash, an option", "zsh"],
)
def test_a_shell_that_asks_is_answered(variables: dict[str, str], answer: str, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / ("docket.exe" if os.name == "nt" else "docket")
    done = subprocess.run(
        [program],
        cwd=tmp_path,
        env=environment(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert answer in done.stdout
    assert "snapshot" not in answer or "strike" not in done.stdout
