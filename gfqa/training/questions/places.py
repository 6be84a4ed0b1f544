"""Where in its document a question is answered: the place a second look must read.

The first occurrence of the answer's words is often another one: a default of 0 stands on every page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from gfqa.training.questions.units import Question

_LINES_AFTER = 4
"""A fact found on a line may have its answer a few lines below: a docstring under its function."""
_NEAR = 160
"""Characters to each side of an occurrence in which words of the question speak for it."""


def answer_offset(text: str, qa: Question) -> int:
    """The character of `text` where the question is answered; where an answer is the document's path, what it is about.

    The question's own offset or line decides where it has one, else the occurrence of the answer with most of the question's
    words around it. 0 where nothing is found.
    """
    if "offset" in qa:
        return int(qa["offset"])
    line = qa.get("line")
    if line:
        start = _line_start(text, line)
        found = text.find(qa["a"][0], start)
        return found if 0 <= found <= _line_start(text, line + _LINES_AFTER) else start
    places = [place for answer in qa["a"] for place in occurrences(text, answer)]
    if len(places) <= 1:
        return places[0] if places else 0
    words = clue_words(qa)
    return max(places, key=lambda place: (_score(text, place, words), -place))


def clue_words(qa: Question) -> list[str]:
    """What a question is recognised by: its names, else its longer words, lower case."""
    names = [name.lower() for name in qa.get("names", ())]
    return names or sorted(set(re.findall(r"\w{4,}", qa["q"].lower())))


def occurrences(text: str, answer: str, most: int = 50) -> Iterator[int]:
    """The characters where `answer` stands in `text`, at most `most`."""
    at = text.find(answer)
    while at >= 0 and most > 0:
        yield at
        at, most = text.find(answer, at + 1), most - 1


class TokenPlaces:
    """Characters of a document to token numbers of its chain, whose first `header` ids are no text."""

    def __init__(self, text: str, piece_sizes: Sequence[int], header: int) -> None:
        """piece_sizes: the bytes of every token of the text."""
        self._text, self._ends, self._header = text, np.cumsum(np.asarray(piece_sizes, dtype=np.int64)), header

    def token(self, character: int) -> int:
        """The token of the chain that holds this character."""
        offset = len(self._text[:character].encode())
        return self._header + min(int(np.searchsorted(self._ends, offset, side="right")), max(len(self._ends) - 1, 0))

    def character(self, token: int) -> int:
        """The character at which this token of the chain begins; 0 for a token of the header."""
        before = int(self._ends[token - self._header - 1]) if token > self._header and len(self._ends) else 0
        return len(self._text.encode()[:before].decode("utf-8", "ignore"))


def _line_start(text: str, line: int) -> int:
    at = 0
    for _ in range(line - 1):
        at = text.find("\n", at) + 1
        if not at:
            return len(text)
    return at


def _score(text: str, place: int, words: Sequence[str]) -> int:
    around = text[max(0, place - _NEAR) : place + _NEAR].lower()
    return sum(word in around for word in words)
