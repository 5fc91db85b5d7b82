"""`--codec`: what a command decodes, and by what."""

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest

from docket_core import Docket, JsonCodec, Worker, signed
from docket_core.backend.model import Task
from docket_core.cli.exit_codes import ExitCode
from docket_core.codec import Codec
from docket_core.errors import ConfigurationError
from tests.support.command import Command

KEY = b"a signing key that is long enough"
SIGNED = signed(JsonCodec(), [KEY])
HERE = f"{__name__}:SIGNED"
NO_CODEC = 17
unpickled: list[str] = []
COMMANDS = [
    ("snapshot", "--tasks"),
    ("failed",),
    ("watch", "none"),
    ("retry", "evil"),
    ("cancel", "none"),
    ("clear",),
    ("workers", "ls"),
    ("workers", "for-task", "trace"),
    ("tasks", "trace", "hello"),
    ("tasks", "fail"),
    ("tasks", "sleep", "1"),
    ("strike", "send"),
    ("restore", "send"),
    ("worker", "--until-finished"),
]


class Evil:
    """Notes that it was unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _note, ("evil",)


def _note(text: str) -> str:
    unpickled.append(text)
    return text


@pytest.fixture(autouse=True)
def fresh() -> None:
    unpickled.clear()


def plant(url: str) -> None:
    """A task and a strike of somebody who can write to the store, and knows the functions that workers know."""

    async def write() -> None:
        async with Docket(url=url).open_backend() as backend:
            await backend.enqueue([Task("evil", "trace", pickle.dumps(((Evil(),), {})), "a run")])
            await backend.strike("rule", pickle.dumps(("send", "to", "==", Evil())))

    asyncio.run(write())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("codec", ["docket_core:JsonCodec", HERE])
def test_nothing_is_unpickled_where_a_codec_is_named(docket: Command, words: tuple[str, ...], codec: str) -> None:
    plant(docket.url)
    said = docket(*words, "--codec", codec)
    assert said.code in (ExitCode.OK, ExitCode.NO), said.err
    assert unpickled == []


def test_without_one_it_is(docket: Command) -> None:
    """Else the test above would show nothing."""
    plant(docket.url)
    docket("snapshot", "--tasks")
    assert "evil" in unpickled


def test_backends_reads_no_strikes(docket: Command) -> None:
    plant(docket.url)
    assert docket("backends", docket.url).code == ExitCode.OK
    assert unpickled == []


@pytest.mark.parametrize("variable", ["DOCKET_CODEC", "--codec"])
def test_commands_and_workers_understand_each_other(
    docket: Command, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    options = () if variable == "DOCKET_CODEC" else ("--codec", HERE)
    if not options:
        monkeypatch.setenv(variable, HERE)
    assert docket("tasks", "trace", "hello", "--key", "t", *options).code == 0
    assert docket("strike", "fail", "message", "==", "no", *options).code == 0
    shown = docket("snapshot", "--tasks", "--json", *options).json
    assert [task["call"] for task in shown["waiting_tasks"]] == ["trace('hello')"]
    assert shown["strikes"] == ["fail where message == 'no'"]
    assert docket("tasks", "fail", "no", *options).code == ExitCode.NO
    assert docket("worker", "--until-finished", *options).code == 0
    assert docket("watch", "t", *options).code == 0


def test_workers_have_a_variable_of_their_own(docket: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKET_CODEC", "nowhere:codec")
    monkeypatch.setenv("DOCKET_WORKER_CODEC", HERE)
    docket("tasks", "trace", "hello", "--key", "t", "--codec", HERE)
    assert docket("worker", "--until-finished").code == 0
    assert docket("watch", "t", "--codec", HERE).code == 0


def test_a_codec_is_found_in_the_current_directory(
    docket: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "codecs_found_here.py").write_text("from docket_core import JsonCodec\nours = JsonCodec()\n")
    monkeypatch.chdir(tmp_path)
    assert docket("tasks", "trace", "--codec", "codecs_found_here:ours").code == 0


def test_a_value_that_the_codec_has_not_is_not_struck(docket: Command) -> None:
    said = docket("strike", "send", "day", "==", "date:2030-01-01", "--codec", "docket_core:JsonCodec")
    assert said.code == ExitCode.DATA
    assert "JSON has no date" in said.err
    assert docket("snapshot", "--json").json["strikes"] == []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("json", "has the form package.module:attribute"),
        (":codec", "has the form package.module:attribute"),
        ("no_such_module:codec", "No module named 'no_such_module'"),
        ("docket_core:Nothing", "has no attribute 'Nothing'"),
        ("docket_core.signing:SignedCodec", "missing 2 required positional arguments"),
        (f"{__name__}:NO_CODEC", "is no codec, which has a name, encode and decode, but int"),
        ("json:dumps", "is no codec, which has a name, encode and decode, but function"),
    ],
)
def test_what_is_no_codec_is_refused(docket: Command, path: str, why: str) -> None:
    for words in (("snapshot",), ("worker", "--until-finished")):
        said = docket(*words, "--codec", path)
        assert said.code == ExitCode.USAGE
        assert why in said.err


async def test_worker_run_takes_a_codec_or_its_path(url: str) -> None:
    codecs: list[Codec | str] = [SIGNED, HERE]
    for number, codec in enumerate(codecs):
        async with Docket(url=url, codec=SIGNED) as docket:
            execution = await docket.add("trace", key=f"{number}")("hello")
            await Worker.run(url=url, until_finished=True, codec=codec)
            assert await execution.get_result() is None
    with pytest.raises(ConfigurationError, match="cannot be had"):
        await Worker.run(url=url, codec="nowhere:codec")
