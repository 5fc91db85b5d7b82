"""The examples in docs/fastapi.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import environment

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "fastapi.md").read_text(), re.MULTILINE | re.DOTALL)
ASK = """
from fastapi.testclient import TestClient

with TestClient(app) as client:
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        if "post" in operations:
            answer = client.post(path.replace("{name}", "Ann").replace("{number}", "7"))
            answer.raise_for_status()
            print("posted", answer.json()["key"])
print("served")
"""


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_document_serves(example: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", example + ASK]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "served" in done.stdout
    assert ("@app.post" in example) == ("posted" in done.stdout)
