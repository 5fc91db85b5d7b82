"""Making functions known to a docket."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docket_core import Cron, CurrentDocket, Dependency, Depends, Docket, Perpetual, Progress, Retry
from docket_core.errors import ConfigurationError, InvalidKey
from docket_core.tasks import standard_tasks
from tests.support.workers import work_off


async def greet(name: str) -> str:
    return f"hello {name}"


def another(name: str) -> str:
    return name


collection = [greet, another]
no_collection = 7


def make_greet() -> object:
    async def greet(name: str) -> str:
        return name

    return greet


async def test_standard_tasks_are_known(docket: Docket) -> None:
    assert [docket.tasks[task.__name__] for task in standard_tasks] == standard_tasks


async def test_registering_works_before_the_docket_is_entered(docket_url: str) -> None:
    docket = Docket("orders", docket_url)
    assert docket.register(greet) is greet
    async with docket:
        execution = await docket.add("greet")("ann")
        await work_off(docket)
        assert await execution.get_result() == "hello ann"


async def test_a_function_may_have_names_of_its_own(docket: Docket) -> None:
    docket.register(greet, names=["welcome", "hello"])
    assert docket.tasks["welcome"] is docket.tasks["hello"] is greet
    assert "greet" not in docket.tasks
    execution = await docket.add("hello")("ann")
    assert execution.function_name == "hello"
    await work_off(docket)
    assert await execution.get_result() == "hello ann"


async def test_adding_a_function_uses_the_name_that_it_has(docket: Docket) -> None:
    docket.register(greet, names=["welcome"])
    execution = await docket.add(greet)("ann")
    assert execution.function_name == "welcome"
    assert "greet" not in docket.tasks


async def test_what_a_name_stands_for_may_be_changed_between_two_adds(docket: Docket) -> None:
    docket.register(greet)
    first = await docket.add("greet")("ann")
    docket.tasks["greet"] = another
    second = await docket.add("greet")("ben")
    assert (first.function, second.function) == (greet, another)
    await work_off(docket)
    assert await second.get_result() == "ben"


async def test_two_functions_of_one_name_are_refused_with_both_places(docket: Docket) -> None:
    docket.register(greet)
    with pytest.raises(ConfigurationError) as refused:
        docket.register(make_greet())  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    assert f"{__name__}.greet" in str(refused.value)
    assert f"{__name__}.make_greet.<locals>.greet" in str(refused.value)
    assert docket.tasks["greet"] is greet


async def test_registering_again_changes_nothing(docket: Docket) -> None:
    docket.register(greet)
    docket.register(greet)
    assert docket.tasks["greet"] is greet


async def test_a_bound_method_may_be_registered_again(docket: Docket) -> None:
    class Mailer:
        async def send(self) -> str:
            return "sent"

    mailer = Mailer()
    docket.register(mailer.send)
    docket.register(mailer.send)
    with pytest.raises(ConfigurationError):
        docket.register(Mailer().send)


async def test_two_dependencies_of_a_kind_that_may_stand_once_are_refused(docket: Docket) -> None:
    async def torn(first: Retry = Retry(attempts=2), second: Retry = Retry(attempts=3)) -> None: ...

    with pytest.raises(ValueError, match="Retry"):
        docket.register(torn)
    assert "torn" not in docket.tasks


async def test_two_completion_handlers_are_refused_by_add_as_well(docket: Docket) -> None:
    async def torn(first: Perpetual = Perpetual(), second: Perpetual = Perpetual()) -> None: ...

    with pytest.raises(ValueError, match="Perpetual"):
        docket.add(torn)


async def test_a_function_without_a_name_needs_one(docket: Docket) -> None:
    class Sender:
        async def __call__(self) -> str:
            return "sent"

    sender = Sender()
    with pytest.raises(ConfigurationError, match="no name"):
        docket.register(sender)
    docket.register(sender, names=["sender"])
    execution = await docket.add("sender")()
    await work_off(docket)
    assert await execution.get_result() == "sent"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 513, "\ud800"])
async def test_a_name_outside_its_bounds_is_refused(docket: Docket, name: str) -> None:
    with pytest.raises(InvalidKey):
        docket.register(greet, names=[name])
    with pytest.raises(InvalidKey):
        Docket(name, docket.url)


async def test_an_unknown_name_is_a_key_error_that_names_it(docket: Docket) -> None:
    with pytest.raises(KeyError, match="nobody-knows"):
        docket.add("nobody-knows")
    with pytest.raises(KeyError, match="nobody-knows"):
        docket.replace("nobody-knows", None, "key")
    with pytest.raises(KeyError, match="nobody-knows"):
        docket.call("nobody-knows")


async def test_a_collection_is_registered_by_its_path(docket: Docket) -> None:
    docket.register_collection(f"{__name__}:collection")
    assert docket.tasks["greet"] is greet
    assert docket.tasks["another"] is another


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no-colon", "package.module:attribute"),
        ("module:", "package.module:attribute"),
        ("no_such_module_here:tasks", "no_such_module_here"),
        (f"{__name__}:missing", "missing"),
        (f"{__name__}:no_collection", "no_collection"),
    ],
)
async def test_a_path_to_no_collection_is_refused(docket: Docket, path: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        docket.register_collection(path)


async def test_a_call_that_does_not_fit_is_refused_before_anything_is_written(docket: Docket) -> None:
    with pytest.raises(TypeError, match="name"):
        await docket.add(greet)()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="surplus"):
        await docket.add("greet")("ann", surplus=1)
    with pytest.raises(TypeError):
        docket.call(greet)("ann", "bob")
    assert (await docket.snapshot()).total_tasks == 0


def test_an_automatic_task_that_needs_arguments_is_refused() -> None:
    async def poll(place: str, perpetual: Perpetual = Perpetual(automatic=True)) -> None: ...

    async def report(*places: str, day: str, cron: Cron = Cron("@daily")) -> None: ...

    async def by_hand(place: str, cron: Cron = Cron("@daily", automatic=False)) -> None: ...

    async def plain(place: str = "here", cron: Cron = Cron("@daily"), **more: str) -> None: ...

    docket = Docket("refusing", "memory://refusing")
    with pytest.raises(ConfigurationError, match=r"poll is put on the docket by workers.*needs place: .*Perpetual\(…"):
        docket.register(poll)
    with pytest.raises(ConfigurationError, match=r"report is put .*needs day: .*Cron\(…, automatic=False\)"):
        docket.register(report)
    docket.register(by_hand)
    docket.register(plain)
    assert set(docket.tasks) >= {"by_hand", "plain"}
    assert not {"poll", "report"} & set(docket.tasks)


def test_a_dependency_that_is_named_and_not_made_is_refused() -> None:
    class Mine(Dependency[int]):
        async def __aenter__(self) -> int:
            return 1

    def declares(default: Any) -> Callable[..., None]:
        def job(given: Any = default) -> None: ...

        return job

    for default in (Cron, Retry, Mine, Progress, CurrentDocket, Depends):
        with pytest.raises(ConfigurationError, match=rf"given of job .* call it: given = {default.__name__}\(…\)"):
            Docket("refusing", "memory://refusing").register(declares(default))
    for fine in (int, greet, Mine(), Progress(), None):
        Docket("taking", "memory://taking").register(declares(fine))


def test_a_module_that_is_not_there_and_one_that_cannot_be_imported_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halfway.py").write_text("import not_installed_at_all\n")
    (tmp_path / "whole.py").write_text("tasks = []\n")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    docket = Docket("refusing", "memory://refusing")
    for path, message in (
        ("nowhere:tasks", "there is no module 'nowhere' here; write package.module:attribute$"),
        ("whole.py:tasks", "there is no module 'whole.py' here; write package.module:attribute, without .py$"),
        ("halfway:tasks", "halfway cannot be imported for 'halfway:tasks': No module named 'not_installed_at_all'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            docket.register_collection(path)


async def test_a_docket_is_open_once(docket: Docket) -> None:
    with pytest.raises(RuntimeError, match="open already"):
        await docket.__aenter__()


async def test_a_closed_docket_says_so(docket_url: str) -> None:
    docket = Docket("orders", docket_url)
    with pytest.raises(RuntimeError, match="not open"):
        await docket.add(greet)("ann")
    async with docket:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        await docket.snapshot()


async def test_a_closed_docket_can_be_opened_again(docket_url: str) -> None:
    docket = Docket("orders", docket_url)
    for name in ("ann", "bob"):
        async with docket:
            execution = await docket.add(greet)(name)
            await work_off(docket)
            assert await execution.get_result() == f"hello {name}"
