"""Marks in a text that is still being laid out: where each cell, key or value will stand.

A mark is one character of a private plane before the marked words. Layout code moves strings about as it likes; `settle`
takes the marks out and says where they were.
"""

from __future__ import annotations

_FIRST = 0xF0000
_MOST = 0xFFF0


def marked(number: int, text: str) -> str:
    """`text` behind mark `number` (0 to 65519)."""
    if not 0 <= number < _MOST:
        raise ValueError(f"There is no mark {number}.")
    return chr(_FIRST + number) + text


def is_mark(character: str) -> bool:
    return character >= chr(_FIRST)


def bare(text: str) -> str:
    """The text without its marks."""
    return "".join(character for character in text if character < chr(_FIRST))


def wide(text: str) -> int:
    """How many characters of a text are seen."""
    return sum(character < chr(_FIRST) for character in text)


def padded(text: str, width: int, fill: str = " ", *, right: bool = False) -> str:
    """The text filled up to `width` seen characters, on the left where it is to stand `right`."""
    more = (fill * width)[: max(0, width - wide(text))]
    return more + text if right else text + more


def settle(text: str) -> tuple[str, dict[int, int]]:
    """The bare text, and for each mark the character at which its words begin (the first one where it stands twice)."""
    kept: list[str] = []
    places: dict[int, int] = {}
    for character in text:
        if is_mark(character):
            places.setdefault(ord(character) - _FIRST, len(kept))
        else:
            kept.append(character)
    return "".join(kept), places
