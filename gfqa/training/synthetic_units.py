"""Units made while packing: needles, pairs, lists, variables, facts and tables in fresh haystacks; windows of the text
stream, asked about what recurs in them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from gfqa.tokenizer import Tokenizer
from gfqa.training.packs import CHUNK
from gfqa.training.pool import Maker, Pool, Unit, unit_of
from gfqa.training.questions import synthetic
from gfqa.training.questions.lists import list_units
from gfqa.training.questions.printed_tables import printed_table_units
from gfqa.training.questions.recurring import recurring
from gfqa.training.questions.units import unit

MAKERS = ("needle", "kv", "variable", "facts", "table", "lists", "printed")
_FAMILIES = {"lists": list_units, "printed": printed_table_units}
SMALLEST, LARGEST = 512, 6144
"""Tokens of a window of the text stream."""
TOKENS_A_QUESTION = 100
TRIES = 4
PROSE = (".md", ".txt", ".rst", ".adoc", ".xml", ".asciidoc", ".tex", ".mdx", ".cnxml")
"""Endings of the documents that are asked about: code has questions of its own."""
BOOK, BOOKS = 1 << 16, 0.3
"""Documents of more tokens than this are novels, mostly: such a draw is taken in this share of cases."""


class SyntheticUnits:
    """Callable: a few tokenised synthetic units of one random kind of `kinds`; haystacks are texts of the pool's units."""

    def __init__(self, pool: Pool, kinds: Sequence[str] = MAKERS) -> None:
        self._pool, self._kinds = pool, kinds

    def __call__(self, rng: random.Random) -> list[Unit]:
        kind = rng.choice(self._kinds)
        if kind in _FAMILIES:
            records = _FAMILIES[kind](rng, rng.choice((1, 2, 2, 3)), self._haystack)
        else:
            records = synthetic.make(kind, rng, self._haystack)
        return [unit_of(record, self._pool.tokenizer) for record in records]

    def _haystack(self, rng: random.Random) -> str:
        return self._pool.seed(rng).text[:4000]


class StreamUnits:
    """Callable: one to three neighbouring windows of a document of the text stream, asked about phrases that recur.

    stream: uint16 tokens of documents (`document_ids`), each a multiple of 64; begins: bool per 64 tokens, True where a
    document does.
    """

    def __init__(self, stream: np.ndarray, begins: np.ndarray, tokenizer: Tokenizer) -> None:
        self._stream, self._tokenizer = stream, tokenizer
        self._first = np.append(np.flatnonzero(begins), len(begins)) * CHUNK

    def __call__(self, rng: random.Random) -> list[Unit]:
        for _ in range(TRIES):
            # By tokens, not by documents: a book is asked about as often as its length deserves.
            at = rng.randrange(len(self._stream))
            number = int(np.searchsorted(self._first, at, side="right")) - 1
            path = self._text(int(self._first[number]), int(self._first[number]) + 128).split("\n", 1)[0]
            if self._first[number + 1] - self._first[number] > BOOK and rng.random() > BOOKS:
                continue
            if path.endswith(PROSE) and (units := self._windows(path, number, at, rng)):
                return units
        return []

    def _windows(self, path: str, number: int, at: int, rng: random.Random) -> list[Unit]:
        begin, end = int(self._first[number]), int(self._first[number + 1])
        size = int(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
        count = rng.choice((1, 1, 2, 3))
        start = max(begin, min(at, end - size * count))
        units: list[Unit] = []
        for low in range(start, min(end, start + size * count), size):
            text = self._text(low, min(low + size, end))
            text = text.split("\n", 1)[-1] if low == begin else text
            left, qas = recurring(text, size // TOKENS_A_QUESTION + 1, rng)
            if qas:
                name = path if count == 1 else f"{path}.{len(units) + 1}"
                units.append(unit_of(unit("recurring", f"recurring {number}", name, left, qas), self._tokenizer))
        return units

    def _text(self, low: int, high: int) -> str:
        # A control piece (<doc>) is no text; a window may begin inside a character.
        return self._tokenizer.decode(self._stream[low:high].tolist()).lstrip("\ufffd")


def by_weight(pool: Pool, makers: dict[str, Maker]) -> Maker:
    """A maker that calls one of `makers` in the share of contexts that `pool.weights` says for its name, else makes nothing."""

    def make(rng: random.Random) -> list[Unit]:
        drawn = rng.random()
        for name, maker in makers.items():
            drawn -= pool.weights.get(name, 0.0)
            if drawn < 0:
                return maker(rng)
        return []

    return make
