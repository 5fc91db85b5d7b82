"""Every numbered case of reliability has a test that a reader finds by its number."""

import ast
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("untraced")  # it reads the tree, and runs none of our lines

TESTS = Path(__file__).resolve().parent.parent
CASES = range(1, 31)


@cache
def named_tests() -> list[str]:
    """The names of all tests on behaviour and faults."""
    names: list[str] = []
    for folder in ("behaviour", "faults"):
        for path in (TESTS / folder).rglob("test_*.py"):
            tree = ast.parse(path.read_text())
            names += [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in names if name.startswith("test_")]


@pytest.mark.parametrize("case", CASES)
def test_the_case_has_a_test(case: int) -> None:
    assert [name for name in named_tests() if name.startswith(f"test_case_{case:02}_")]
