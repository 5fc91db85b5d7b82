"""An environment of its own for each peer, made when it is first needed."""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

DEFAULT = Path.home() / ".cache" / "docket-core-benchmarks"


def python_of(folder: Path) -> Path:
    """Where an environment has its Python."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def ensure(folder: Path, requirements: Sequence[str]) -> Path:
    """The Python of the environment in `folder`, with these distributions; made if it is not there."""
    python, done = python_of(folder), folder / "installed.json"
    if not done.exists() or json.loads(done.read_text()) != list(requirements):
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--pre", *requirements], check=True)
        done.write_text(json.dumps(list(requirements)))
    return python


def versions(python: Path, requirements: Sequence[str]) -> dict[str, str]:
    """Which versions of them it has."""
    names = [requirement.partition(">")[0].partition("[")[0] for requirement in requirements]
    script = "import json, sys, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    told = subprocess.run([python, "-c", script, *names], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(told.stdout)
    return found
