"""Words of a question that are written as names: where one stands nowhere in the documents, they hardly answer. Torch-free."""

from __future__ import annotations

import re

_WORD = re.compile(r"(?<!['’])\b\w+")
_CODE = re.compile(r"[^\W\d_A-Z]+\d*[A-Z]|\w_\w")
"""In readFile and read_file, whatever is around them."""
_SENTENCE = re.compile(r"[.?!:]\s")


def names(question: str) -> tuple[str, ...]:
    """The question's names: words with a capital that begin no sentence, words in capitals, and identifiers.

    Where more than two thirds begin with a capital, as in a heading, capitals say nothing.
    """
    words = list(_WORD.finditer(question))
    heading = 3 * sum(word.group()[0].isupper() for word in words) > 2 * len(words)
    return tuple(word.group() for word in words if _is_name(word.group(), question[: word.start()], heading))


def _is_name(word: str, before: str, heading: bool) -> bool:
    if _CODE.search(word):
        return True
    if heading or len(word) == 1 or not word[0].isupper():
        return False
    opens = not any(map(str.isalnum, _SENTENCE.split(before)[-1]))
    return not opens or word[1].isupper()
