"""Synthetic units made while packing: needles, key-value pairs, variables, facts, in fresh haystacks."""

from __future__ import annotations

import random

from gfqa.training.pool import Pool, Unit, unit_of
from gfqa.training.questions import synthetic

MAKERS = ("needle", "kv", "variable", "facts")


class SyntheticUnits:
    """Callable: a few tokenised synthetic units of one random kind; haystacks are texts of the pool's units."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __call__(self, rng: random.Random) -> list[Unit]:
        records = synthetic.make(rng.choice(MAKERS), rng, self._haystack)
        return [unit_of(record, self._pool.tokenizer) for record in records]

    def _haystack(self, rng: random.Random) -> str:
        return self._pool.seed(rng).text[:4000]
