"""Question templates without those that are kept for the evaluation of made-up facts, lists and tables.

Slots are compared by what they hold: {e} what is asked about, {a} what of it, {v} a value, {o} what sort of thing it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from gfqa.training.questions import records, synthetic, tables
from gfqa.training.questions.vocabulary import split_templates


def plain(line: str, slots: Mapping[str, str]) -> str:
    """A template in small letters, its slots renamed by `slots`, without the mark at its end."""
    for name, meaning in slots.items():
        line = line.replace(f"{{{name}}}", f"<{meaning}>" if meaning else "")
    return line.lower().rstrip("?. ")


@cache
def kept_out() -> frozenset[str]:
    """The templates of the evaluation, plain."""
    sources = (
        (synthetic._NEEDLE_QUESTIONS, {"k": "e", "r": "a"}),
        (synthetic._PAIR_QUESTIONS, {"k": "e"}),
        (records._QUESTIONS, {"s": "e", "f": "a"}),
        (tables._CELL_QUESTIONS, {"s": "e", "c": "a"}),
        (tables._ROW_QUESTIONS, {"r": "o", "c": "a", "v": "v"}),
    )
    return frozenset(plain(line, slots) for lines, slots in sources for line in split_templates(lines, True))


def trained(text: str, slots: Mapping[str, str]) -> tuple[str, ...]:
    """The templates of a block, one a line, that may be trained on."""
    return tuple(line for line in text.strip().splitlines() if plain(line, slots) not in kept_out())
