"""Question units to draw from, and contexts put together from them: a seed, documents beside it, distractors."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gfqa.answer.prompt import document_ids
from gfqa.tokenizer import Tokenizer
from gfqa.training.packs import CHUNK, UnitFiles
from gfqa.training.questions.places import TokenPlaces, answer_offset
from gfqa.training.questions.units import Question


@dataclass
class Unit:
    """A tokenised document with its questions. ids uint16: `header` tokens that are no text, then the text.

    Each question has q, a, kind, at (the token where it is answered), and perhaps names and users (numbers of units of the
    same group that mention the name without answering).
    """

    ids: np.ndarray
    header: int
    path: str
    qas: list[Question]
    set: str
    group: str
    tokenizer: Tokenizer = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.path

    @cached_property
    def text(self) -> str:
        """The document without its header."""
        return self.tokenizer.decode(self.ids[self.header :].tolist())

    @cached_property
    def places(self) -> TokenPlaces:
        """Characters of `text` to token numbers."""
        sizes = [len(self.tokenizer.piece_bytes(id)) for id in self.ids[self.header :].tolist()]
        return TokenPlaces(self.text, sizes, self.header)


def unit_of(record: dict[str, Any], tokenizer: Tokenizer) -> Unit:
    """A unit from a record of the training format (units.py), its questions placed."""
    ids, header = document_ids(tokenizer, record["path"], record["text"])
    made = Unit(np.asarray(ids, dtype=np.uint16), header, record["path"], [], record["set"], record["group"], tokenizer)
    made.qas = [{**qa, "at": made.places.token(answer_offset(record["text"], qa))} for qa in record["qas"] if qa["a"]]
    return made


class Pool:
    """Units to draw from; `weights` say how often a set seeds a context (1 where not named), `largest` bounds the tokens.

    taken: (set, group) -> whether the pool has its units; all of them without it.
    """

    def __init__(
        self,
        files: UnitFiles,
        tokenizer: Tokenizer,
        weights: dict[str, float],
        largest: int,
        taken: Callable[[str, str], bool] = lambda name, group: True,
    ) -> None:
        self.files, self.tokenizer, self.weights = files, tokenizer, weights
        self._by_set: dict[str, list[int]] = defaultdict(list)
        self._by_group: dict[tuple[str, str], list[int]] = defaultdict(list)
        for i, (name, group) in enumerate(zip(files.sets, files.groups, strict=True)):
            if files.length(i) <= largest and taken(name, group):
                self._by_set[name].append(i)
                self._by_group[name, group].append(i)
        self._names = [name for name in self._by_set if weights.get(name, 1.0) > 0]
        self._name_weights = [weights.get(name, 1.0) for name in self._names]

    @property
    def sets(self) -> list[str]:
        """The sets that seed contexts."""
        return list(self._names)

    def unit(self, i: int) -> Unit:
        """Unit number i of the files."""
        record, files = self.files.record(i), self.files
        return Unit(
            files.tokens(i),
            record["header"],
            record["path"],
            record["qas"],
            files.sets[i],
            files.groups[i],
            self.tokenizer,
        )

    def seed(self, rng: random.Random) -> Unit:
        """A unit of a set drawn by weight."""
        return self.unit(rng.choice(self._by_set[rng.choices(self._names, self._name_weights)[0]]))

    def neighbour(self, unit: Unit, rng: random.Random) -> Unit:
        """A unit of the same group (perhaps the same one); any unit where the group is not of the pool."""
        group = self._by_group.get((unit.set, unit.group))
        return self.unit(rng.choice(group)) if group else self.seed(rng)

    def beside(self, unit: Unit, count: int, rng: random.Random) -> list[int]:
        """Numbers of up to `count` other units of the same group; none where it is not of the pool."""
        group = self._by_group.get((unit.set, unit.group), [])
        chosen = rng.sample(group, min(count, len(group)))
        return [number for number in chosen if not np.array_equal(self.files.tokens(number), unit.ids)]


@dataclass
class ContextShape:
    """How contexts are put together; shares from 0 to 1."""

    alone: float = 0.25
    """Contexts of one document."""
    users: float = 0.5
    """Contexts of a seed with names in which documents that mention such a name stand beside it."""
    near: float = 0.5
    """Other documents that come from the seed's own group: an article, a repository."""


@dataclass
class Context:
    """Documents to be asked about together. `asked_first`: a question of one of them for which the others were chosen."""

    units: list[Unit]
    asked_first: tuple[Question, Unit] | None = None


Maker = Callable[[random.Random], list[Unit]]
"""Makes the documents of a context on the spot, or none."""


def compose(pool: Pool, shape: ContextShape, size: int, room: int, rng: random.Random, made: Maker | None) -> Context:
    """A context of about `size` tokens that fits into `room`, each document padded to whole chunks and taken once."""
    planned = made(rng) if made is not None else []
    seed = planned[0] if planned else pool.seed(rng)
    queue = planned or [seed]
    asked_first = None
    alone = not planned and rng.random() < shape.alone
    with_users = [qa for qa in seed.qas if qa.get("users")]
    if with_users and not alone and rng.random() < shape.users:
        asked = rng.choice(with_users)
        asked_first = (asked, seed)
        chosen = rng.sample(asked["users"], min(len(asked["users"]), rng.randint(1, 3)))
        queue = [seed, *(pool.unit(i) for i in chosen)]
    near = 0.0 if planned else shape.near
    units: list[Unit] = []
    have: set[tuple[str, str]] = set()
    used = 0
    for attempt in range(len(queue) if alone else 20 + size // 32):
        if attempt < len(queue):
            unit = queue[attempt]
        else:
            unit = pool.neighbour(seed, rng) if rng.random() < near else pool.seed(rng)
        padded = -(-len(unit.ids) // CHUNK) * CHUNK
        if unit.key in have or used + padded > room:
            continue
        units.append(unit)
        have.add(unit.key)
        used += padded
        if used >= size and attempt + 1 >= len(queue):
            break
    if asked_first is not None and seed.key not in have:
        asked_first = None
    rng.shuffle(units)
    return Context(units, asked_first)
