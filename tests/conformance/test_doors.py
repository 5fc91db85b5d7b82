"""The suite's own doors: the command, and the way in from an author's repository."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from docket_core.conformance import __main__ as command


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_command_runs_the_suite(tmp_path: Path) -> None:
    """It depends on no configuration of the caller's, says what ran and what was left out, and passes."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\nasyncio_mode = nonsense\n")
    done = run("-m", "docket_core.conformance", "memory://door", "-k", "strikes or transa or limits", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "docket-core conformance suite: the memory backend at memory://door"
    assert "the backend lacks the capability 'transactional': 8 left out" in lines
    assert "no fixture 'disrupt': 1 left out, for want of a way to break the connection" in lines
    assert "13 passed" in lines[-1]
    assert "9 left out" in lines[-1]
    assert not list(tmp_path.glob(".pytest_cache"))


def test_command_fails_with_the_suite(tmp_path: Path) -> None:
    done = run("-m", "docket_core.conformance", "memory://door", "-k", "nothing_of_that_name", folder=tmp_path)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED


def test_command_shows_no_password(tmp_path: Path) -> None:
    url = "memory://user:hunter2@door"
    done = run("-m", "docket_core.conformance", url, "-k", "test_no_secret_is_shown", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_command_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(name: str) -> object | None:
        return None if name == "hypothesis" else object()

    monkeypatch.setattr(command, "find_spec", absent)
    assert command.main(["memory://door"]) == 2
    assert capsys.readouterr().err == (
        "the conformance suite needs hypothesis; run: pip install 'docket-core[conformance]'\n"
    )


@pytest.mark.parametrize("url", ["nobodys://door", "no url"])
def test_command_refuses_what_it_cannot_open(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([url]) == 2
    assert url.partition(":")[0] in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_authors_repository(tmp_path: Path, mode: str) -> None:
    """`pytest_plugins`, a `backend_url` fixture and one import; fixtures may be overridden; warnings are errors."""
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\naddopts = --strict-markers\nasyncio_mode = {mode}\n"
        "asyncio_default_fixture_loop_scope = session\nfilterwarnings = error\n"
    )
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["docket_core.conformance.plugin"]\n')
    (tmp_path / "test_my_backend.py").write_text(
        dedent("""
            import pytest
            from docket_core.conformance.plugin import opener
            from docket_core.conformance.suite import *

            @pytest.fixture(params=["one", "two"])
            def backend_url(request):
                return f"memory://{request.param}"

            @pytest.fixture
            def disrupt():
                async def disrupted():
                    pass
                return disrupted

            @pytest.fixture
            def open_limited():
                return opener("memory://small?max_tasks=15")
        """)
    )
    done = run("-m", "pytest", "-k", "TestProgress or TestErrors or TestLimits", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "32 passed" in done.stdout.splitlines()[-1]
    assert "left out" not in done.stdout


def test_without_a_store_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["docket_core.conformance.plugin"]\n')
    (tmp_path / "test_my_backend.py").write_text("from docket_core.conformance.suite import TestProgress\n")
    done = run("-m", "pytest", folder=tmp_path)
    assert done.returncode != 0
    assert "define a fixture `backend_url`, or give --backend-url" in done.stdout + done.stderr
