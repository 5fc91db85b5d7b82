"""Every block of code in the README and the documents runs, and prints what is shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.servers.postgres import shared_postgres_url
from tests.support.servers.redis import oldest_binary, shared_url, version
from tests.support.snippets import NOT_RUN, OUTPUT, PAGES, ROOT, Reader, blocks_of, is_run, matches

SERVERS: dict[str, Callable[[], str]] = {
    "postgresql://app@db.example/shop": shared_postgres_url,
    "redis://cache.example": lambda: shared_url(version(oldest_binary())),
}
LANGUAGES = {"python", "sh", "text", "toml", "yaml", "ini", "sql"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if any(map(is_run, blocks_of(page)))], ids=name_of)
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    folder, printing = tmp_path / "folder", tmp_path / "printing"
    folder.mkdir()
    printing.mkdir()
    with Reader(folder, printing, SERVERS) as reader:
        for block in blocks_of(page):
            reader.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    blocks = list(blocks_of(page))
    assert page.read_text().count("```") == 2 * len(blocks), "a fence that is not read as one"
    for block in blocks:
        assert block.language in LANGUAGES, f"line {block.line}: {block.language!r}"
        if "not run" in block.title:
            assert block.title.startswith(NOT_RUN), f"line {block.line}: {block.title!r}"
            assert len(block.title) > len(NOT_RUN) + 10, f"line {block.line}: why is it not run?"
        if block.title == OUTPUT:
            assert block.language == "text", f"line {block.line}"


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("one\ntwo\n", "one\ntwo\n", True),
        ("one\n", "one\ntwo\n", False),
        ("one\n…\n", "one\ntwo\nthree\n", True),
        ("took … s\n", "took 1.25 s\n", True),
        ("took … s\n", "took\n1.25 s\n", False),
    ],
)
def test_output_is_compared_line_by_line(shown: str, printed: str, fits: bool) -> None:
    assert matches(shown, printed) is fits
