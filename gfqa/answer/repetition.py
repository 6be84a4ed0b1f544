"""Answers of a model that has lost its way and says the same again and again: `src////`, `the the the the`. Torch-free.

The decode loop ends such an answer (`gfqa.answer.generate`, at the same number of repetitions), but what was said until then
is no answer either.
"""

from __future__ import annotations

import re

AGAIN = 4
"""So many times in a row is no accident: `===`, `...` and `--flag` are answers, `====` and `src////` are not."""

_MARKS = re.compile(rf"([\W_]{{1,4}}?)\1{{{AGAIN - 1},}}$")
"""On a text without white space: what it ends with, up to four characters that are neither letters nor digits."""
_SYLLABLES = re.compile(rf"(?!(.)\1+$)([^\W\d_]{{2,12}}?)\2{{{AGAIN - 1},}}$", re.IGNORECASE)
"""On a word: the same two to twelve letters, of which not all are the same."""
_LETTERS = re.compile(r"([^\W_])\1{7,}")
"""One letter or digit eight times: a mask, a hash, or a loop, which only the document can tell apart."""
_WORD = re.compile(r"[^\W_]+")
_PERIOD = 3
"""Words of the longest cycle."""
_MASKS = frozenset("*#•_")
"""Characters that stand for others, as in `****`, or for nothing yet, as in `Name: ____`."""


def is_degenerate(answer: str, document: str = "") -> bool:
    """Whether an answer ends in a loop, or consists of one: of marks (`src////`, `, , , ,`), words, or parts of a word.

    document: the text that the answer was read from. What stands there exactly so is an honest answer, however odd; a piece
    of a longer run of the same is not, and a letter or digit eight times in a row has to stand there. Masks (`****`,
    `XXXX-XXXX`), numbers, frames (`-----BEGIN KEY-----`), and what is short (`//`, `===`, `C++`) are answers without it. An
    empty answer says nothing, and so repeats nothing.
    """
    text = answer.strip()
    if document and (run := _LETTERS.search(text)) and run.group() not in document:
        return True
    return (_marks(text) or _words(text)) and not _stands(text, document)


def _marks(text: str) -> bool:
    joined = "".join(text.split())
    if joined == text or any(character.isalnum() for character in text):
        run = _MARKS.search(joined)
        if run is None or _MASKS.issuperset(run[1]):
            return False
        framed = run.start() > 0 and joined.startswith(run[1] * (AGAIN - 1))
        return not framed
    # Marks with spaces between them: separators that separate nothing.
    pieces = set(text.split())
    return len(pieces) == 1 and not _MASKS.issuperset(*pieces)


def _words(text: str) -> bool:
    words = [word.lower() for word in _WORD.findall(text)]
    for period in range(1, _PERIOD + 1):
        cycle = words[-period:]
        if len(words) >= AGAIN * period and words[-AGAIN * period :] == cycle * AGAIN:
            # Numbers repeat themselves by right, and so do masks.
            return not any(set(word) == {"x"} or any(map(str.isdigit, word)) for word in cycle)
    return bool(words) and _SYLLABLES.search(words[-1]) is not None


def _stands(text: str, document: str) -> bool:
    """Whether the text stands in the document, and not as a part of a longer run of its first or last character."""
    if text not in document:
        return False
    first, last = re.escape(text[0]), re.escape(text[-1])
    return re.search(f"(?<!{first}){re.escape(text)}(?!{last})", document) is not None
