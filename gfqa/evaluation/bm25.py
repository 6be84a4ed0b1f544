"""The rival of the passage search: BM25 as the library bm25s has it, with the English Snowball stemmer and stop words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType

from gfqa.errors import UsageError


def installed() -> bool:
    """Whether the libraries are there: measures whose figures BM25 only stands beside leave it out without them."""
    return find_spec("bm25s") is not None and find_spec("Stemmer") is not None


def rank(texts: Sequence[str], questions: Sequence[str], count: int) -> list[list[int]]:
    """Numbers of the `count` best texts for each question, best first. UsageError where the libraries are not installed."""
    if not installed():
        raise UsageError(
            "The BM25 baseline needs the packages bm25s and PyStemmer.",
            hint="Install them with: pip install 'gfqa[eval]'",
        )
    import Stemmer

    bm25s = _library()
    stemmer = Stemmer.Stemmer("english")

    def words(lines: Sequence[str]) -> object:
        return bm25s.tokenize(list(lines), stopwords="en", stemmer=stemmer, show_progress=False)

    index = bm25s.BM25()
    index.index(words(texts), show_progress=False)
    found, _ = index.retrieve(
        words(questions), k=min(count, len(texts)), show_progress=False, backend_selection="numpy"
    )
    return [[int(number) for number in row] for row in found]


def _library() -> ModuleType:
    """bm25s, imported as if jax were not installed: it would start jax, which takes most of a GPU's memory for itself."""
    hidden = "jax" not in sys.modules
    if hidden:
        sys.modules["jax"] = None  # type: ignore[assignment]
    try:
        import bm25s
    finally:
        if hidden:
            del sys.modules["jax"]
    return bm25s
