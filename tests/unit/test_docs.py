"""What the documents say about the code is true."""

import re
from pathlib import Path

import pytest

from docket_core.backend.states import State
from tests.support.lifecycle import DOCUMENT, table, with_table

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(ROOT.glob("*.md"))
"""Those beside the site, whose own links its build checks."""
RECORDS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))


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
