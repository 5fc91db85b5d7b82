"""Every promise of the API has a test, and every test that names one names one that exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
BEHAVIOUR = ROOT / "tests" / "behaviour"


def promised() -> list[str]:
    text = (ROOT / "docs" / "requirements.md").read_text()
    return re.findall(r"^- \*\*(R-\d{3})\*\* \S", text, re.MULTILINE)


def named_in(source: str) -> Iterator[str]:
    """The numbers in the decorators of a module's tests."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.requirement":
                    yield from (ast.literal_eval(argument) for argument in mark.args)


def covered() -> set[str]:
    return {number for path in BEHAVIOUR.rglob("test_*.py") for number in named_in(path.read_text())}


def test_promises_are_numbered_once() -> None:
    numbers = promised()
    assert len(numbers) > 50
    assert len(set(numbers)) == len(numbers)


def test_every_promise_has_a_test() -> None:
    assert set(promised()) - covered() == set()


def test_no_test_names_an_unknown_promise() -> None:
    assert covered() - set(promised()) == set()


def test_a_name_counts_only_on_a_test() -> None:
    source = """
@pytest.mark.requirement("R-001", "R-002")
async def test_it(): ...

@pytest.mark.requirement("R-003")
def helper(): ...
"""
    assert list(named_in(source)) == ["R-001", "R-002"]
