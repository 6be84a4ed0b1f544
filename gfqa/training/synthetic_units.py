"""Synthetic units made while packing: needles, key-value pairs, variables, facts, in fresh haystacks."""

from __future__ import annotations

import random

from gfqa.tokenizer import Tokenizer
from gfqa.training.questions import synthetic
from gfqa.training.rows import Pool, Unit, unit_of

MAKERS = ("needle", "kv", "variable", "facts")


class SyntheticUnits:
    """Callable: a few tokenised synthetic units of one random kind; haystacks are texts of the pool's units."""

    def __init__(self, tokenizer: Tokenizer, pool: Pool) -> None:
        self._tokenizer, self._pool = tokenizer, pool

    def __call__(self, rng: random.Random) -> list[Unit]:
        records = synthetic.make(rng.choice(MAKERS), rng, self._haystack)
        return [unit_of(record, self._tokenizer) for record in records]

    def _haystack(self, rng: random.Random) -> str:
        text: str = self._pool.seed(rng).record["text"]
        return text[:4000]
