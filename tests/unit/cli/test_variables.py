"""A variable that is misspelt is told of, with what may be meant."""

import pytest
from typer.main import get_command

from docket_core.cli.app import build, main
from docket_core.cli.variables import misspelt, variables_of
from tests.support.command_line import reference

KNOWN = set(variables_of(get_command(build())))


@pytest.mark.parametrize(
    ("present", "meant"),
    [
        ("DOCKET_URI", "DOCKET_URL"),
        ("DOCKET_WORKER_CONCURENCY", "DOCKET_WORKER_CONCURRENCY"),
        ("DOCKET_CONCURRENCY", "DOCKET_WORKER_CONCURRENCY"),
    ],
)
def test_what_comes_close_to_one_that_is_read(present: str, meant: str) -> None:
    assert list(misspelt({present, "PATH"}, KNOWN)) == [(present, meant)]


@pytest.mark.parametrize(
    "present",
    [
        "DOCKET_URL",
        "DOCKET_WORKER_TASKS",
        "DOCKET_BENCH_URLS",
        "DOCKET_TEST_REDIS_URL",
        "DOCKET_TEST_POSTGRES_URL",
        "DOCKET_CONFORMANCE_EXAMPLES",
        "DOCKER_URL",
        "MY_DOCKET_URI",
    ],
)
def test_others_are_left_alone(present: str) -> None:
    assert not list(misspelt({present}, KNOWN))


def test_those_that_are_known_are_those_that_are_documented() -> None:
    shown = reference()
    unlisted = {"DOCKET_BENCH_URLS", "DOCKET_INSTALL_COMPLETION", "DOCKET_SHOW_COMPLETION"}
    assert {variable for variable in KNOWN if f"`{variable}`" not in shown} == unlisted


def test_it_is_told_of_before_the_command_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKET_URI", "memory://")
    with pytest.raises(SystemExit) as end:
        main(["version"])
    assert not end.value.code
    out, err = capsys.readouterr()
    assert out
    assert "DOCKET_URI" in err
    assert "DOCKET_URL" in err
