"""The tree of errors that the module's docstring draws is the tree that there is."""

import inspect
import re

import pytest

from docket_core import errors

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


def drawn() -> dict[str, str | None]:
    """Each error of the drawing, and the one above it."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: \((?P<also>\w+)\))?(?:  |$)", line)
        if match is None or (not path and match["name"] != "DocketError"):
            continue
        depth = len(match["branch"]) // 4
        path[depth:] = [match["name"]]
        parents[match["name"]] = path[depth - 1] if depth else None
    return parents


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_drawn_under_its_base(kind: type[Exception]) -> None:
    base = kind.__bases__[0]
    assert drawn()[kind.__name__] == (None if base is Exception else base.__name__)


def test_the_drawing_shows_nothing_else() -> None:
    assert set(drawn()) == {kind.__name__ for kind in CLASSES}


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if ValueError in kind.__bases__])
def test_second_bases_are_drawn(kind: type[Exception]) -> None:
    assert f"{kind.__name__} (ValueError)" in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_says_what_it_means(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.DocketError)
    assert (kind.__doc__ or "").endswith(".")
