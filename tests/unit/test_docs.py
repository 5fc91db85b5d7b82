"""What the documents say about the code is true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docket_core.backend.states import State
from tests.support.lifecycle import DOCUMENT, table, with_table

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RECORDS = sorted((ROOT / "docs" / "adr").glob("*.md"))


def test_the_table_of_transitions_is_the_one_in_the_code() -> None:
    text = DOCUMENT.read_text()
    assert table() in text
    assert text == with_table(text), "run: python -m tests.support.lifecycle"


@pytest.mark.parametrize("state", State)
def test_every_state_is_explained(state: State) -> None:
    assert re.search(rf"^\| [A-Z, ]*\b{state.name}\b[A-Z, ]* \|", DOCUMENT.read_text(), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", document.read_text())
    assert not [link for link in links if not (document.parent / link).exists()]


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_decision_is_one_page_with_context_decision_and_consequences(record: Path) -> None:
    text = record.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert re.match(rf"# {record.name[:4]}: \S", text)
    assert headings == ["Context", "Decision", "Consequences"]
    assert len(text.splitlines()) <= 80


def test_no_two_decisions_have_the_same_number() -> None:
    numbers = [record.name[:4] for record in RECORDS]
    assert len(set(numbers)) == len(numbers)


EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", [example for example in EXAMPLES if "asyncio.run" in example])
def test_examples_of_the_readme_run(example: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Hello, Ann!" in done.stdout or "Ann" not in example
