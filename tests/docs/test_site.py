"""The site is built without a complaint, and every link in it leads somewhere without the network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docket_core import __all__ as public_names
from docket_core.cli.exit_codes import MEANINGS
from tests.support import command_line
from tests.support.snippets import ROOT

LOADED = {"script": "src", "link": "href", "img": "src"}


class Parts(HTMLParser):
    """What a page loads to be shown, and the names of what can be jumped to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.add(values.get("id") or "")
        address = values.get(LOADED.get(tag, ""))
        if address and values.get("rel") not in {"canonical", "prev", "next"}:
            self.loaded.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by its own command; a link or an anchor that leads nowhere is a warning, and ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "-q", "-f", "docs/mkdocs.yml", "--strict", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def parts_of(page: Path) -> Parts:
    parts = Parts()
    parts.feed(page.read_text())
    return parts


def test_it_is_shown_without_the_network(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    assert not [(page.name, address) for page in pages for address in parts_of(page).loaded if "//" in address]


def test_no_stylesheet_of_ours_or_the_theme_fetches_from_elsewhere(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    assert not [sheet for sheet in sheets if re.search(r"(url\(|@import) *[\"']?(https?:)?//", sheet.read_text())]


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    anchors = [parts_of(site / "reference" / name).anchors for name in ("docket_core.html", "errors.html")]
    places = {anchor.rpartition(".")[2] for anchor in set[str]().union(*anchors)}
    elsewhere = {"ExecutionState": "State"}
    known_to_readers = {name: {elsewhere.get(name, name), name.lower()} for name in public_names}
    assert not [name for name, known in known_to_readers.items() if not known & places]


def test_the_command_line_page_is_drawn_from_the_commands() -> None:
    text = command_line.DOCUMENT.read_text()
    assert command_line.reference() in text
    assert text == command_line.with_reference(text), "run: python -m tests.support.command_line"


def test_the_exit_codes_on_the_page_are_those_of_the_commands() -> None:
    shown = re.findall(r"^\| (\d+) \|", command_line.DOCUMENT.read_text(), re.MULTILINE)
    assert [int(code) for code in shown] == [code.value for code in MEANINGS]
