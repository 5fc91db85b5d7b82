"""Text as Hypothesis makes it, of characters that make trouble.

All of Unicode would do as well, but Hypothesis first lists it, which takes longer than all the tests that use it.
"""

from hypothesis import strategies as st

SEPARATORS = "aZ09 -_.:;/@#?&=+%$'\"\\{}[]*<>"
OTHERS = "\0\t\n\x1f\x7f\x85\xa0éßıΩ\u0301\u200f\u202e\u2028\ufeff\uffff🦆"
SURROGATES = "\ud800\udfff"


def texts(min_size: int = 0, max_size: int | None = None, *, surrogates: bool = False) -> st.SearchStrategy[str]:
    """Texts of what stores separate with, controls and characters of all lengths; with lone surrogates if asked."""
    alphabet = SEPARATORS + OTHERS + (SURROGATES if surrogates else "")
    return st.text(alphabet, min_size=min_size, max_size=max_size)
