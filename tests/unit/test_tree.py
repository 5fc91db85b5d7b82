"""The tree as a whole: what is imported under which name, and that the lists in pyproject.toml are complete."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("untraced")  # it reads the tree, and runs none of our lines

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOP_LEVEL = ("docket_core", "backends", "contrib", "tests", "benchmarks")


def packages(folder: str) -> list[str]:
    """The Python packages directly below one of our folders."""
    return sorted(path.parent.name for path in (ROOT / folder).glob("*/__init__.py"))


def python_files() -> Iterator[Path]:
    for folder in TOP_LEVEL:
        yield from (ROOT / folder).rglob("*.py")


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_imports_a_package_through_its_folder() -> None:
    """`import backends.docket_memory` works in a checkout, and makes a second class of everything."""
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files()
        for name in imported_names(path)
        if name.partition(".")[0] in {"backends", "contrib"}
    ]
    assert not wrong, f"import the package itself, not through its folder: {wrong}"


def test_backends_and_contrib_are_folders_not_packages() -> None:
    assert not [folder for folder in ("backends", "contrib") if (ROOT / folder / "__init__.py").exists()]


@pytest.mark.parametrize("package", [*packages("backends"), *packages("contrib")])
def test_every_package_is_on_every_list_of_pyproject(package: str) -> None:
    folder = "backends" if package in packages("backends") else "contrib"
    tool = PYPROJECT["tool"]
    contracts = tool["importlinter"]["contracts"]
    assert package in tool["importlinter"]["root_packages"]
    assert package in tool["coverage"]["run"]["source_pkgs"]
    assert f"{folder}/{package}" in tool["hatch"]["build"]["targets"]["wheel"]["packages"]
    layers = " ".join(contracts[0]["layers"]).replace("(", "").replace(")", "").split()
    assert package in layers, "add it beside the other backends in the first contract of import-linter"
    if folder == "backends":
        assert package in contracts[-1]["source_modules"], "add it to the last contract of import-linter"


def test_every_file_fits_in_a_few_screens() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files()
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long, f"over 400 lines a file is split by meaning: {long}"
