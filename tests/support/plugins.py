"""Installs backend plugins for one test, as a third party's package would be: metadata and a module on the path."""

import sys
from importlib import invalidate_caches
from pathlib import Path
from textwrap import dedent

import pytest


class Plugins:
    """Writes plugin packages into a folder of the test's own that is on `sys.path`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.modules: set[str] = set()

    def install(self, module: str, source: str | None, *schemes: str) -> None:
        """A package with this one module (None: a broken one without) that serves these schemes."""
        info = self._folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        points = "".join(f"{scheme} = {module}\n" for scheme in schemes)
        (info / "entry_points.txt").write_text(f"[docket_core.backends]\n{points}")
        if source is not None:
            (self._folder / f"{module}.py").write_text(dedent(source))
        self.modules.add(module)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """A place to install plugins that are gone after the test."""
    made = Plugins(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    invalidate_caches()
    for name in [name for name in sys.modules if name.startswith("acme")]:
        monkeypatch.delitem(sys.modules, name)
    return made
