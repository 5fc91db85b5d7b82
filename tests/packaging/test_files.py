"""What is in the files that are published."""

import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.packaging.conftest import ROOT, Built

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def files_below(folder: Path) -> set[str]:
    """The files of a folder, relative to it, without what Python and the tools leave behind."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix() for path in paths if not path.name.startswith(".")}


def test_the_wheel_is_small(built: Built) -> None:
    assert built.wheel.stat().st_size < 600_000


def test_the_wheel_holds_our_packages_and_nothing_else(built: Built) -> None:
    top = {name.partition("/")[0] for name in built.in_wheel()}
    names = {Path(package).name for package in PACKAGES}
    assert top == names | {f"docket_core-{PYPROJECT['project']['version']}.dist-info"}


def test_the_name_docket_stays_free(built: Built) -> None:
    assert not {name for name in built.in_wheel() if name.partition("/")[0] in {"docket", "docket.py"}}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel(built: Built, package: str) -> None:
    """Also those that are not Python, such as scripts a backend sends to its store."""
    expected = {f"{Path(package).name}/{name}" for name in files_below(ROOT / package)}
    assert expected <= built.in_wheel()


def test_the_wheel_is_typed(built: Built) -> None:
    assert "docket_core/py.typed" in built.in_wheel()


def test_the_wheel_carries_the_licence(built: Built) -> None:
    assert [name for name in built.in_wheel() if name.endswith("licenses/LICENSE")]


@pytest.mark.parametrize("folder", ["docket_core", "backends", "contrib", "tests", "benchmarks", "docs"])
def test_every_folder_is_in_the_sdist(built: Built, folder: str) -> None:
    expected = {f"{folder}/{name}" for name in files_below(ROOT / folder) if "__pycache__" not in name}
    assert expected <= built.in_sdist()


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml"])
def test_what_a_reader_looks_for_is_in_the_sdist(built: Built, name: str) -> None:
    assert name in built.in_sdist()


def test_entry_points_are_those_of_pyproject(built: Built) -> None:
    with ZipFile(built.wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        parser = ConfigParser(delimiters="=")
        parser.read_string(archive.read(path).decode())
    project = PYPROJECT["project"]
    assert dict(parser["docket_core.backends"]) == project["entry-points"]["docket_core.backends"]
    assert dict(parser["console_scripts"]) == project["scripts"]


@pytest.mark.parametrize(
    ("scheme", "module"), sorted(PYPROJECT["project"]["entry-points"]["docket_core.backends"].items())
)
def test_an_entry_point_leads_to_a_file_of_the_wheel(built: Built, scheme: str, module: str) -> None:
    assert f"{module.replace('.', '/')}.py" in built.in_wheel()


def test_the_extra_all_brings_every_driver(built: Built) -> None:
    extras: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
    drivers = {point.partition("_")[2].partition(".")[0] for point in _modules()} & set(extras)
    (everything,) = (one for one in extras["all"] if one.startswith("docket-core["))
    named = set(everything.partition("[")[2].rstrip("]").split(","))
    assert drivers <= named


def _modules() -> list[str]:
    return list(PYPROJECT["project"]["entry-points"]["docket_core.backends"].values())
